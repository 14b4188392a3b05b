import { rangeOf, roundDomain } from "./domain";
import { fitText, makeLabels } from "./labels";
import type { Box, Pen, TextStyle } from "./pen";
import { type Scale, makeScale } from "./scale";
import type { Theme } from "./theme";

/** One bar in each group. Values may be negative; one that is not finite is left out. */
export interface BarSeries {
  readonly name: string;
  readonly colour: string;
  readonly values: ArrayLike<number>;
  /** Draw the outline only: for a target beside what was reached. */
  readonly hollow?: boolean;
}

/** What a bar chart shows. */
export interface Bars {
  /** A name for each group. */
  readonly labels: readonly string[];
  readonly series: readonly BarSeries[];
  /** What the values are. */
  readonly label: string;
  /** The group to point out, or −1. */
  readonly highlight?: number;
}

/** Where the groups of a bar chart lie. */
export interface BarsLayout {
  readonly plot: Box;
  readonly value: Scale;
  readonly ticks: readonly number[];
  /** The strip of a group. */
  group(index: number): Box;
}

const SIZE = 11;
const ROW = 16;

/** Lays a bar chart out without drawing it. */
export function barsLayout(pen: Pick<Pen, "measure">, box: Box, data: Bars): BarsLayout {
  const top = box.y + ROW + 8;
  const height = Math.max(1, box.y + box.height - ROW - 4 - top);
  const most = Math.max(2, Math.min(6, Math.floor(height / 28)));
  const range = rangeOf([...data.series.map(({ values }) => values), [0]]);
  const value = makeScale("linear", roundDomain("linear", range, most), [top + height, top]);
  const ticks = value.ticks(most);
  const left = Math.max(...value.labels(ticks).map((text) => pen.measure(text, { fill: "", size: SIZE }))) + 8;
  const plot = { x: box.x + left, y: top, width: Math.max(1, box.width - left - 2), height };
  const step = plot.width / Math.max(1, data.labels.length);
  return { plot, value, ticks, group: (i) => ({ ...plot, x: plot.x + i * step, width: step }) };
}

/** Draws a bar chart into a box and says where its groups lie. */
export function bars(pen: Pen, box: Box, data: Bars, theme: Theme): BarsLayout {
  const layout = barsLayout(pen, box, data);
  const { plot, value } = layout;
  const { labels, series, highlight = -1 } = data;
  /** A line across the chart at a value. */
  const across = (v: number, stroke: string) => {
    const at = Math.round(value.toPixel(v)) + 0.5;
    pen.path([plot.x, at, plot.x + plot.width, at], { stroke });
  };
  if (highlight >= 0) pen.rect(layout.group(highlight), { fill: theme.accent, alpha: 0.12 }, 3);
  for (const tick of layout.ticks) across(tick, theme.line);
  series.forEach(({ colour, values, hollow }, k) => {
    labels.forEach((_, i) => {
      const bar = barBox(layout, series.length, k, i, values[i] ?? NaN);
      // An outline around less than a pixel would look like a bar below zero.
      if (!Number.isFinite(bar.height) || (hollow && bar.height < 1)) return;
      if (hollow) pen.rect(bar, { fill: colour, alpha: 0.15 });
      pen.rect(bar, hollow ? { stroke: colour, width: 1.5 } : { fill: colour });
    });
  });
  across(0, theme.muted);
  drawText(pen, box, data, layout, theme);
  return layout;
}

/** The rectangle of a bar, from zero to its value. */
function barBox({ group, value }: BarsLayout, count: number, k: number, i: number, v: number): Box {
  const { x, width } = group(i);
  const gap = Math.min(0.12 * width, 8);
  const wide = (width - 2 * gap) / count;
  const [zero, end] = [value.toPixel(0), value.toPixel(v)];
  // A hair of space between the bars of a group, where there is room for one.
  const thin = Math.max(1, wide - (wide > 6 ? 1 : 0));
  return { x: x + gap + k * wide, y: Math.min(zero, end), width: thin, height: Math.abs(end - zero) };
}

function drawText(pen: Pen, box: Box, data: Bars, { plot, value, ticks, group }: BarsLayout, theme: Theme): void {
  const labels = makeLabels(pen, box);
  const style: TextStyle = { fill: theme.muted, size: SIZE };
  const name = fitText(pen, data.label, style, box.width);
  labels.put(box.x, box.y + 1, name, { ...style, baseline: "top", weight: 500 });
  value.labels(ticks).forEach((text, i) => {
    labels.put(plot.x - 6, value.toPixel(ticks[i]!), text, { ...style, anchor: "end", baseline: "middle" });
  });
  // Every second name, every third …: as few as keep all of them apart.
  const step = group(0).width;
  const widest = Math.max(0, ...data.labels.map((text) => pen.measure(text, style)));
  const every = Math.max(1, Math.ceil((Math.min(widest, 90) + 6) / step));
  data.labels.forEach((text, i) => {
    if (i % every !== 0) return;
    const named: TextStyle = { ...style, anchor: "middle", baseline: "top" };
    const lit = i === data.highlight ? { ...named, fill: theme.ink, weight: 600 } : named;
    const short = fitText(pen, text, lit, every * step - 4);
    labels.put(group(i).x + step / 2, plot.y + plot.height + 5, short, lit);
  });
}
