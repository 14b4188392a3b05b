import { expect, test } from "@playwright/test";
import { estimateWidth, svgPen } from "../../src/charts";
import { must, seeded, xmlFault } from "./charts-tools";

test("the checker of XML knows good from bad", () => {
  expect(xmlFault('<a b="1"><c/>x &amp; y</a>')).toBeUndefined();
  for (const bad of [
    "<a>",
    "<a></b>",
    "<a/><b/>",
    "<a>x & y</a>",
    '<a b="<"/>',
    '<a b="1" b="2"/>',
    '<a x="NaN"/>',
  ]) {
    expect(xmlFault(bad), bad).toBeDefined();
  }
});

test("any text gives well-formed SVG that says what it shows", () => {
  const nasty = `<b> & "quotes" ]]> 'x' \u0000\u0007\ud800 😀 −π`;
  const pen = svgPen(100, 50, nasty, nasty);
  pen.text(1, 2, nasty, { fill: "#000", halo: "#fff", weight: 600, anchor: "end" });
  const svg = pen.svg();
  expect(xmlFault(svg)).toBeUndefined();
  expect(svg).toContain('role="img"');
  expect(svg).toContain("<title>&lt;b&gt; &amp; &quot;quotes&quot;");
  expect(svg).toContain("<desc>");
  expect(svg).toContain("😀");
  expect(svg).not.toMatch(/\p{Surrogate}/u);
});

test("what is not finite never reaches the SVG", () => {
  const pen = svgPen(100, 50, "t", "d");
  for (const v of [NaN, Infinity, -Infinity]) {
    pen.path([0, 0, v, 1, 2, 2, 3, 3], { stroke: "#000", dash: [1, 2] }, true);
    pen.rect({ x: v, y: 0, width: 1, height: 1 }, { fill: "#000" });
    pen.circles([v, 1, 2, 2], 3, { fill: "#000" });
    pen.text(v, 1, "x", { fill: "#000" });
  }
  pen.rect({ x: 0, y: 0, width: -1, height: 1 }, { fill: "#000" });
  expect(xmlFault(pen.svg())).toBeUndefined();
  expect(pen.svg()).not.toContain("<rect");
  expect(pen.svg()).not.toContain("<text");
  expect(pen.svg().match(/<circle/g)?.length).toBe(3);
});

test("a point that is not finite lifts the pen", () => {
  const pen = svgPen(9, 9, "t", "d");
  pen.path([0, 0, 1, 1, NaN, 0, 2, 2, 3, 3], { stroke: "#000" });
  expect(pen.svg()).toContain('d="M0 0L1 1M2 2L3 3"');
});

test("cells of an SVG cover the grid exactly once, in the right colours", () => {
  const random = seeded(6);
  for (let round = 0; round < 50; round++) {
    const [columns, rows] = [1 + Math.floor(9 * random()), 1 + Math.floor(9 * random())];
    const rgba = new Uint8ClampedArray(4 * columns * rows);
    for (let i = 0; i < columns * rows; i++) {
      const grey = 60 * Math.floor(4 * random());
      rgba.set([grey, grey, 9, random() < 0.2 ? 0 : 255], 4 * i);
    }
    const pen = svgPen(90, 90, "t", "d");
    pen.cells({ x: 0, y: 0, width: 90, height: 90 }, columns, rgba);
    expect(xmlFault(pen.svg())).toBeUndefined();
    const seen = new Array<string | undefined>(columns * rows).fill(undefined);
    for (const [, fill, d] of pen.svg().matchAll(/<path fill="(#\w+)" d="([^"]*)"/g)) {
      for (const [, x, y, run] of d!.matchAll(/M(\d+) (\d+)h(\d+)v1h-\d+z/g)) {
        for (let k = 0; k < Number(run); k++) {
          const cell = Number(y) * columns + Number(x) + k;
          must(seen[cell] === undefined, `cell ${cell} twice`);
          seen[cell] = fill;
        }
      }
    }
    seen.forEach((fill, i) => {
      const [r, alpha] = [rgba[4 * i]!, rgba[4 * i + 3]!];
      const two = r.toString(16).padStart(2, "0");
      must(fill === (alpha ? `#${two}${two}09` : undefined), `cell ${i} is ${fill}`);
    });
  }
});

test("longer, larger and bolder text is wider", () => {
  const style = { fill: "#000", size: 12 };
  expect(estimateWidth("abc", style)).toBeLessThan(estimateWidth("abcd", style));
  expect(estimateWidth("abc", style)).toBeLessThan(estimateWidth("abc", { ...style, size: 13 }));
  expect(estimateWidth("abc", style)).toBeLessThan(estimateWidth("abc", { ...style, weight: 700 }));
});
