import { expect, test } from "@playwright/test";
import {
  type Bars,
  type GridMap,
  bars,
  formatNumber,
  gridMap,
  legendBar,
  legendHeight,
  shade,
} from "../../src/charts";
import { THEMES, must, seeded, spyPen, textFaults, xmlFault } from "./charts-tools";

const theme = THEMES[0]!;

/** The rectangles of one colour in an SVG. */
function rects(svg: string, colour: string) {
  const found = svg.matchAll(
    /<rect x="([-\d.]+)" y="([-\d.]+)" width="([\d.]+)" height="([\d.]+)" fill="(#\w+)"/g,
  );
  return [...found]
    .filter((m) => m[5] === colour)
    .map((m) => m.slice(1, 5).map(Number) as [number, number, number, number]);
}

test("bars run from zero to their values", () => {
  const values = [3, -1, 0, NaN, 2];
  const data: Bars = {
    labels: ["a", "b", "c", "d", "e"],
    series: [{ name: "s", colour: "#0000ff", values }],
    label: "v",
  };
  const { pen, svg } = spyPen(400, 200);
  const layout = bars(pen, { x: 0, y: 0, width: 400, height: 200 }, data, theme);
  const zero = layout.value.toPixel(0);
  const drawn = rects(svg(), "#0000ff");
  expect(drawn.length).toBe(4);
  values
    .filter((v) => Number.isFinite(v))
    .forEach((v, i) => {
      const [, y, , h] = drawn[i]!;
      const ends = [zero, layout.value.toPixel(v)].sort((a, b) => a - b);
      expect(Math.abs(y - ends[0]!)).toBeLessThan(0.02);
      expect(Math.abs(y + h - ends[1]!)).toBeLessThan(0.02);
    });
});

test("bars of a group stand side by side inside their group", () => {
  const random = seeded(20);
  for (let round = 0; round < 60; round++) {
    const n = 1 + Math.floor(64 * random());
    const k = 1 + Math.floor(3 * random());
    const colours = ["#100000", "#200000", "#300000"].slice(0, k);
    const data: Bars = {
      labels: Array.from({ length: n }, (_, i) => `group ${i}`),
      series: colours.map((colour) => ({
        name: colour,
        colour,
        values: Array.from({ length: n }, () => random() - 0.3),
      })),
      label: "v",
    };
    const [width, height] = [200 + 800 * random(), 200 + 600 * random()];
    const { pen, svg } = spyPen(width, height);
    const layout = bars(pen, { x: 0, y: 0, width, height }, data, theme);
    const all = colours.map((colour) => rects(svg(), colour));
    for (let i = 0; i < n; i++) {
      const group = layout.group(i);
      let end = group.x;
      for (const list of all) {
        const [x, , w] = list[i]!;
        must(x >= end - 1, `a bar of group ${i} on its neighbour`);
        end = x + w;
      }
      must(end <= group.x + group.width + 1, `group ${i} is left`);
    }
  }
});

test("an outline of less than a pixel is left out", () => {
  const { pen, svg } = spyPen(400, 200);
  const series = [{ name: "s", colour: "#0000ff", values: [1, 1e-6], hollow: true }];
  bars(pen, { x: 0, y: 0, width: 400, height: 200 }, { labels: ["a", "b"], series, label: "v" }, theme);
  expect(rects(svg(), "#0000ff").length).toBe(1);
});

test("labels of bars never overlap or leave the drawing", () => {
  const random = seeded(21);
  for (let width = 200; width <= 1200; width += 20) {
    const n = 1 + Math.floor(30 * random());
    const values = () => Array.from({ length: n }, () => (random() - 0.5) * 10 ** (8 * random() - 4));
    const data: Bars = {
      labels: Array.from({ length: n }, (_, i) => (random() < 0.5 ? `${i}` : `a rather long name ${i}`)),
      series: [
        { name: "a", colour: "#123", values: values() },
        { name: "b", colour: "#456", values: values(), hollow: true },
      ],
      label: "what is measured here, in nats",
      highlight: Math.floor(n * random()),
    };
    const { pen, texts, svg } = spyPen(width, 240);
    bars(pen, { x: 0, y: 0, width, height: 240 }, data, theme);
    expect(textFaults(texts, width, 240), `at ${width}`).toEqual([]);
    expect(xmlFault(svg())).toBeUndefined();
  }
});

test("a bar chart of nothing stands", () => {
  const { pen, svg } = spyPen(300, 200);
  bars(pen, { x: 0, y: 0, width: 300, height: 200 }, { labels: [], series: [], label: "v" }, theme);
  expect(xmlFault(svg())).toBeUndefined();
});

test("a grid map counts rows from the bottom, finds its cells, and keeps its text apart", () => {
  const random = seeded(22);
  for (let width = 200; width <= 1200; width += 40) {
    const [columns, rows] = [1 + Math.floor(16 * random()), 1 + Math.floor(12 * random())];
    const values = Array.from({ length: columns * rows }, () => (random() < 0.1 ? NaN : random()));
    const data: GridMap = {
      columns: { label: "β", values: Array.from({ length: columns }, (_, i) => 2 ** i / 4) },
      rows: {
        label: "learning rate",
        values: Array.from({ length: rows }, (_, i) => 2 ** i / 1000),
      },
      values,
      max: 1,
      map: theme.probability,
      selected: 0,
      cursor: columns * rows - 1,
      text: (i) => formatNumber(values[i]!, 2),
    };
    const { pen, texts, svg } = spyPen(width, 260);
    const layout = gridMap(pen, { x: 0, y: 0, width, height: 260 }, data, theme);
    expect(textFaults(texts, width, 260), `at ${width}`).toEqual([]);
    expect(xmlFault(svg())).toBeUndefined();
    for (let i = 0; i < columns * rows; i++) {
      const { x, y, width: w, height: h } = layout.cell(i);
      must(layout.cellAt(x + w / 2, y + h / 2) === i, `cell ${i}`);
    }
    expect(layout.cell(0).y).toBeGreaterThanOrEqual(layout.cell(columns * rows - 1).y);
    expect(layout.cellAt(-1, -1)).toBe(-1);
  }
});

test("a grid map colours the cell it is told", () => {
  const { pen, svg } = spyPen(300, 200);
  const data: GridMap = {
    columns: { label: "x", values: [1, 2, 3] },
    rows: { label: "y", values: [1, 2] },
    values: [1, 0, 0, 0, 0, NaN],
    max: 1,
    map: theme.probability,
    selected: -1,
    cursor: -1,
    text: () => "",
  };
  gridMap(pen, { x: 0, y: 0, width: 300, height: 200 }, data, theme);
  // The first value is the one at the bottom left: second row of the picture, first column. The last is left
  // open.
  expect(svg()).toContain('d="M0 1h1v1h-1z"');
  expect(svg()).not.toContain("M2 0");
});

test("a legend bar names its ends, and its middle stands at its colour", () => {
  for (const options of [{}, { gamma: 1 }, { difference: true }, { label: "probability", gamma: 0.3 }]) {
    const data = { max: 0.08, ...options };
    const { pen, texts, svg } = spyPen(200, legendHeight(data));
    legendBar(pen, { x: 0, y: 0, width: 200, height: legendHeight(data) }, data, theme);
    expect(xmlFault(svg())).toBeUndefined();
    expect(textFaults(texts, 200, legendHeight(data))).toEqual([]);
    const low = "difference" in options ? "−0.08" : "0";
    expect(texts.map((t) => t.text)).toEqual(expect.arrayContaining([low, "0.08"]));
  }
  const { pen, texts } = spyPen(200, 40);
  legendBar(pen, { x: 0, y: 0, width: 200, height: 40 }, { max: 1 }, theme);
  const middle = texts.find((t) => t.text === "0.25")!;
  expect(middle.box.x + middle.box.width / 2).toBeCloseTo(200 * shade(0.25, 1, 0.5, false), 6);
});
