import { expect, test } from "@playwright/test";
import { branchesOf, depthOf, rowsOf } from "../../src/panels/tree/layout";
import { wasm } from "../support/module.ts";

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
