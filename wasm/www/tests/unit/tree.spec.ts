import { expect, test } from "@playwright/test";
import { drawTree } from "../../src/panels/tree/figure";
import { branchesOf, depthOf, rowsOf } from "../../src/panels/tree/layout";
import { wasm } from "../support/module.ts";
import { THEMES, spyPen } from "./charts-tools";

test("every answer has a row, its own end between its children", () => {
  expect(rowsOf(7, 2)).toEqual([3, 1, 4, 0, 5, 2, 6]);
  expect(rowsOf(4, 3)).toEqual([1, 2, 0, 3]);
  expect(rowsOf(4, 1)).toEqual([3, 2, 1, 0]);
});

test("depth counts symbols", () => {
  expect([0, 1, 2, 3, 6, 7].map((node) => depthOf(node, 2))).toEqual([0, 1, 1, 2, 2, 3]);
});

test("what flows into a node leaves it, stacked in the order of the rows", () => {
  const tree = new wasm.Tree(3, 2, 3, 7);
  const ends = tree.reference();
  const flow = tree.flow(ends);
  const branches = branchesOf(flow, ends, 2);
  const rows = rowsOf(tree.size, 2);
  expect(branches).toHaveLength(2 * tree.size - 1);
  for (let node = 0; node < tree.size; node++) {
    const out = branches.filter(({ from }) => from === node);
    expect(out.map(({ to }) => rows.indexOf(to))).toEqual(out.map(({ to }) => rows.indexOf(to)).sort((a, b) => a - b));
    expect(out.reduce((sum, { width }) => sum + width, 0)).toBeCloseTo(flow[node]!, 10);
    let edge = -flow[node]! / 2;
    for (const { start, width } of out) {
      expect(start - width / 2).toBeCloseTo(edge, 10);
      edge = start + width / 2;
    }
    expect(edge).toBeCloseTo(flow[node]! / 2, 10);
  }
  tree.free();
});

test("the bar of an answer is as long as its probability, and its outline as the fixed point", () => {
  const [theme] = THEMES;
  const { pen, svg, texts } = spyPen(900, 34 * 3);
  const picture = { symbols: 2, rows: [1, 0, 2], names: ["∅", "a", "b"], modes: [2], flow: [1, 0.25, 0.25], colour: "#123456", chosen: 0 };
  drawTree(pen, theme!, { ...picture, probabilities: [0.5, 0.25, 0.25], exact: [0.25, 0.5, 0.25] });
  const widths = (pattern: RegExp) => [...svg().matchAll(pattern)].map(([, width]) => Number(width));
  const bars = widths(/width="([\d.]+)" height="14"[^>]* fill="#123456"/g);
  const outlines = widths(/width="([\d.]+)" height="19"[^>]* fill="none"/g);
  const full = 0.27 * 900;
  expect(bars).toEqual([0.25, 0.5, 0.25].map((p) => expect.closeTo(full * p, 1)));
  expect(outlines).toEqual([0.5, 0.25, 0.25].map((p) => expect.closeTo(full * p, 1)));
  expect(texts.map(({ text }) => text)).toEqual(expect.arrayContaining(["50 %", "25 %", "b ★"]));
});
