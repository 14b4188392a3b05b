import { expect, test } from "@playwright/test";
import {
  type LineChart,
  decimate,
  lineChart,
  lineLayout,
  nearest,
  sparkline,
  svgPen,
} from "../../src/charts";
import { THEMES, must, seeded, spyPen, textFaults, xmlFault } from "./charts-tools";

const theme = THEMES[0]!;
const xs = (n: number, step = 1) => Float64Array.from({ length: n }, (_, i) => i * step);

test("decimation keeps the ends and every column's minimum and maximum", () => {
  const random = seeded(10);
  for (let round = 0; round < 30; round++) {
    const n = 3000 + Math.floor(20000 * random());
    const points = new Float64Array(2 * n);
    for (let i = 0; i < n; i++) {
      points[2 * i] = (300 * i) / n;
      points[2 * i + 1] = random() < 0.001 ? 1000 * random() : random();
    }
    const thin = decimate(points);
    expect(thin.length / 2).toBeLessThanOrEqual(4 * 301);
    expect([...thin.slice(0, 2)]).toEqual([...points.slice(0, 2)]);
    expect([...thin.slice(-2)]).toEqual([...points.slice(-2)]);
    const extremes = (list: Float64Array) => {
      const columns = new Map<number, [number, number]>();
      for (let i = 0; i < list.length; i += 2) {
        const c = columns.get(Math.floor(list[i]!)) ?? [Infinity, -Infinity];
        columns.set(Math.floor(list[i]!), [Math.min(c[0], list[i + 1]!), Math.max(c[1], list[i + 1]!)]);
      }
      return [...columns];
    };
    must(JSON.stringify(extremes(thin)) === JSON.stringify(extremes(points)), "lost a peak");
    for (let i = 2; i < thin.length; i += 2) must(thin[i]! >= thin[i - 2]!, "goes back");
  }
});

test("decimation keeps gaps as gaps and leaves short lines alone", () => {
  const short = Float64Array.from([0, 1, NaN, NaN, 2, 3]);
  expect(decimate(short)).toBe(short);
  const n = 9000;
  const points = Float64Array.from({ length: 2 * n }, (_, i) => (i % 2 ? Math.sin(i) : i / 100));
  for (let i = 4000; i < 4100; i++) points[2 * i + 1] = NaN;
  const thin = decimate(points);
  expect(thin.filter((v) => Number.isNaN(v)).length).toBe(2);
});

test("the nearest point is the nearest", () => {
  const random = seeded(11);
  for (let round = 0; round < 300; round++) {
    const list = Array.from({ length: Math.floor(12 * random()) }, () => Math.floor(50 * random())).sort(
      (a, b) => a - b,
    );
    const x = 70 * random() - 10;
    const i = nearest(list, x);
    if (list.length === 0) must(i === -1, "no list, no place");
    else must(Math.abs(list[i]! - x) === Math.min(...list.map((v) => Math.abs(v - x))), `${x} in ${list}`);
  }
});

test("labels never overlap or leave the drawing, from 200 to 1200 pixels", () => {
  const random = seeded(12);
  const names = ["FlowRL", "VarGrad", "reward + KL/β, a rather long name", "GRPO", "PPO", "REINFORCE"];
  for (let width = 200; width <= 1200; width += 10) {
    const height = 120 + Math.floor(200 * random());
    const n = 2 + Math.floor(300 * random());
    const size = 10 ** (10 * random() - 5);
    const scale = (["linear", "log"] as const)[(width / 10) % 2]!;
    const chart: LineChart = {
      series: names.map((name) => ({
        name,
        colour: "#123456",
        x: xs(n, 10 ** Math.floor(5 * random())),
        ghost: random() < 0.1,
        hidden: random() < 0.1,
        y: Float64Array.from({ length: n }, () => size * (random() - (scale === "log" ? 0 : 0.5))),
      })),
      x: { label: "step" },
      y: { label: "a measure with a long name in nats", scale },
      marks: Array.from({ length: 5 }, (_, i) => ({ x: 1000 * random() * i, text: `β = ${i}` })),
      references: [
        { y: 0.3 * size, text: "exact" },
        { y: 0.31 * size, text: "also exact, in many more words" },
      ],
      cursor: 500 * random(),
      endLabels: random() < 0.7,
    };
    const { pen, texts, svg } = spyPen(width, height);
    const layout = lineChart(pen, { x: 0, y: 0, width, height }, chart, theme);
    expect(textFaults(texts, width, height), `at ${width} by ${height}`).toEqual([]);
    expect(xmlFault(svg())).toBeUndefined();
    expect(texts.length).toBeGreaterThan(4);
    for (const tick of layout.xTicks)
      must(tick >= layout.x.domain[0] && tick <= layout.x.domain[1], `${tick}`);
    for (const tick of layout.yTicks)
      must(tick >= layout.y.domain[0] && tick <= layout.y.domain[1], `${tick}`);
  }
});

test("a plot of ordinary size has at least two ticks a way", () => {
  for (const scale of ["linear", "log"] as const) {
    for (let width = 200; width <= 1200; width += 50) {
      const chart: LineChart = {
        series: [{ name: "a", colour: "#123456", x: xs(100, 20), y: xs(100, 0.01) }],
        x: { label: "step" },
        y: { label: "y", scale },
      };
      const { pen, texts } = spyPen(width, 160);
      const layout = lineChart(pen, { x: 0, y: 0, width, height: 160 }, chart, theme);
      expect(layout.xTicks.length).toBeGreaterThan(1);
      expect(layout.yTicks.length).toBeGreaterThan(1);
      expect(texts.filter((t) => t.style.anchor === "middle").length).toBe(layout.xTicks.length);
    }
  }
});

test("zeros on a logarithmic axis lie on its floor, missing values break the line", () => {
  const chart: LineChart = {
    series: [{ name: "kl", colour: "#00ff00", x: xs(7), y: [1, 0.1, 0, NaN, 0.5, Infinity, 0.2] }],
    x: { label: "step" },
    y: { label: "KL", scale: "log", floor: 1e-4 },
  };
  const { pen, paths } = spyPen(400, 200);
  const { plot, y } = lineChart(pen, { x: 0, y: 0, width: 400, height: 200 }, chart, theme);
  expect(y.domain[0]).toBe(1e-4);
  const { points } = paths.find((p) => p.stroke === "#00ff00")!;
  expect(points[5]).toBeCloseTo(plot.y + plot.height, 6);
  const svg = svgPen(400, 200, "t", "d");
  lineChart(svg, { x: 0, y: 0, width: 400, height: 200 }, chart, theme);
  const d = /d="([^"]*)"[^>]*stroke="#00ff00"/.exec(svg.svg())![1]!;
  expect(d.match(/M/g)?.length).toBe(3);
});

test("pixels and data turn into each other", () => {
  const chart: LineChart = {
    series: [{ name: "a", colour: "#123", x: xs(50), y: xs(50, 0.1) }],
    x: { label: "x" },
    y: { label: "y", scale: "log" },
  };
  const layout = lineLayout(svgPen(300, 200, "", ""), { x: 10, y: 20, width: 300, height: 200 }, chart);
  const [x, y] = [layout.x.toPixel(17), layout.y.toPixel(0.9)];
  expect(layout.toData(x, y).x).toBeCloseTo(17, 8);
  expect(layout.toData(x, y).y).toBeCloseTo(0.9, 8);
  expect(layout.plot.x).toBeGreaterThanOrEqual(10);
});

test("hidden series leave no trace; nothing at all still draws axes", () => {
  const box = { x: 0, y: 0, width: 300, height: 160 };
  const { pen, paths } = spyPen(300, 160);
  const hidden = { name: "a", colour: "#abcdef", hidden: true, x: [0, 1], y: [0, 1e9] };
  const layout = lineChart(
    pen,
    box,
    { series: [hidden], x: { label: "x" }, y: { label: "y" }, cursor: 0.5 },
    theme,
  );
  expect(paths.some((p) => p.stroke === "#abcdef")).toBe(false);
  expect(layout.y.domain[1]).toBeLessThan(10);
  for (const scale of ["linear", "log"] as const) {
    for (const y of [[], [NaN, NaN], [0, 0], [3, 3], [-1, -1]]) {
      const spy = spyPen(300, 160);
      const one = { name: "a", colour: "#abcdef", x: y.map((_, i) => i), y };
      lineChart(
        spy.pen,
        box,
        { series: [one], x: { label: "x" }, y: { label: "y", scale }, endLabels: true },
        theme,
      );
      expect(xmlFault(spy.svg()), `${scale} ${y}`).toBeUndefined();
      expect(textFaults(spy.texts, 300, 160)).toEqual([]);
    }
  }
});

test("a sparkline stays inside its box", () => {
  const { pen, paths, svg } = spyPen(80, 20);
  const x = Float64Array.from({ length: 5000 }, (_, i) => i);
  const values = x.map((i) => 1.01 + Math.sin(i));
  const domain = [1e-4, 10] as const;
  sparkline(pen, { x: 0, y: 0, width: 80, height: 20 }, { x, values, colour: "#00f000", domain });
  const { points } = paths.find((p) => p.stroke === "#00f000")!;
  expect(points.length).toBeLessThan(800);
  for (let i = 0; i < points.length; i += 2) {
    must(
      points[i]! >= 0 && points[i]! <= 80 && points[i + 1]! >= 0 && points[i + 1]! <= 20,
      "leaves the box",
    );
  }
  expect(xmlFault(svg())).toBeUndefined();
});

test("a logarithmic x gives every power the same room", () => {
  const data: LineChart = {
    series: [{ name: "s", colour: "#0000ff", x: [1, 10, 100], y: [0, 1, 2] }],
    x: { label: "x", scale: "log", domain: [1, 100] },
    y: { label: "y" },
  };
  const { pen } = spyPen(400, 200);
  const { x, xTicks } = lineLayout(pen, { x: 0, y: 0, width: 400, height: 200 }, data);
  const [one, ten, hundred] = [1, 10, 100].map(x.toPixel) as [number, number, number];
  expect(ten - one).toBeCloseTo(hundred - ten, 6);
  expect(xTicks).toEqual(expect.arrayContaining([1, 10, 100]));
});
