import { rangeOf, roundDomain } from "./domain";
import { fitText, makeLabels, type Labels } from "./labels";
import type { Box, Pen, TextStyle } from "./pen";
import { type Scale, makeScale } from "./scale";
import type { Theme } from "./theme";

/** One bar in each group. Values may be negative; one that is not finite is left out. */
export interface BarSeries {
  readonly name: string;
  readonly colour: string;
  /** Of bars below zero, where that is another. */
  readonly below?: string;
  readonly values: ArrayLike<number>;
  /** Half the length of a whisker. */
  readonly errors?: ArrayLike<number>;
  /** Draw the outline only: for a target beside what was reached. */
  readonly hollow?: boolean;
}

/** What a bar chart shows. */
export interface Bars {
  /** A name for each group. */
  readonly labels: readonly string[];
  readonly series: readonly BarSeries[];
  readonly value: { readonly label: string; readonly domain?: readonly [number, number] };
  /** Bars grow to the right instead of upwards. */
  readonly horizontal?: boolean;
  /** The group to point out. */
  readonly highlight?: number;
  /** How a value is written at its bar; no text if left out. */
  readonly text?: (value: number) => string;
}

/** Where the groups of a bar chart lie. */
export interface BarsLayout {
  readonly plot: Box;
  readonly value: Scale;
  readonly ticks: readonly number[];
  readonly horizontal: boolean;
  /** The strip of a group. */
  group(index: number): Box;
  /** The group at a point, or −1. */
  groupAt(x: number, y: number): number;
}

const SIZE = 11;
const ROW = 16;

/** The range of the bars with their whiskers, and zero. */
function valueDomain(data: Bars, ticks: number): readonly [number, number] {
  if (data.value.domain) return data.value.domain;
  const ends = data.series.flatMap(({ values, errors }) =>
    Array.from(values).flatMap((v, i) => [v - (errors?.[i] ?? 0), v + (errors?.[i] ?? 0)]),
  );
  return roundDomain("linear", rangeOf([ends, [0]]), ticks);
}

/** Lays a bar chart out without drawing it. */
export function barsLayout(pen: Pick<Pen, "measure">, box: Box, data: Bars): BarsLayout {
  const style: TextStyle = { fill: "", size: SIZE };
  const horizontal = data.horizontal ?? false;
  const widest = (texts: readonly string[]) => Math.max(0, ...texts.map((t) => pen.measure(t, style)));
  const count = Math.max(1, data.labels.length);
  const top = box.y + ROW + (data.text && !horizontal ? ROW + 2 : 8);
  const height = Math.max(1, box.y + box.height - ROW - 4 - top);
  const most = Math.max(2, Math.min(6, Math.floor(horizontal ? box.width / 70 : height / 28)));
  const domain = valueDomain(data, most);
  const unplaced = makeScale("linear", domain, [0, 1]);
  const ticks = unplaced.ticks(most);
  const numbers = widest(unplaced.labels(ticks));
  const left = horizontal ? Math.min(widest(data.labels), 0.4 * box.width) + 10 : numbers + 8;
  // Room for the values beyond the ends of the bars.
  const { text } = data;
  const texts = text ? data.series.flatMap((s) => Array.from(s.values, (v) => text(v))) : [];
  const right = horizontal ? Math.max(numbers / 2 + 2, widest(texts) + (texts.length ? 6 : 0)) : 2;
  const plot = { x: box.x + left, y: top, width: Math.max(1, box.width - left - right), height };
  const value = horizontal
    ? makeScale("linear", domain, [plot.x, plot.x + plot.width])
    : makeScale("linear", domain, [plot.y + plot.height, plot.y]);
  const step = (horizontal ? plot.height : plot.width) / count;
  return {
    plot,
    value,
    ticks,
    horizontal,
    group: (i) =>
      horizontal
        ? { ...plot, y: plot.y + i * step, height: step }
        : { ...plot, x: plot.x + i * step, width: step },
    groupAt(x, y) {
      const inside = x >= plot.x && x < plot.x + plot.width && y >= plot.y && y < plot.y + plot.height;
      return inside ? Math.floor((horizontal ? y - plot.y : x - plot.x) / step) : -1;
    },
  };
}

/** Draws a bar chart into a box and says where its groups lie. */
export function bars(pen: Pen, box: Box, data: Bars, theme: Theme): BarsLayout {
  const layout = barsLayout(pen, box, data);
  const { plot, value, horizontal } = layout;
  /** A line across the bars at a value. */
  const across = (v: number) => {
    const at = Math.round(value.toPixel(v)) + 0.5;
    return horizontal ? [at, plot.y, at, plot.y + plot.height] : [plot.x, at, plot.x + plot.width, at];
  };
  if (data.highlight !== undefined && data.highlight >= 0 && data.highlight < data.labels.length) {
    pen.rect(layout.group(data.highlight), { fill: theme.accent, alpha: 0.12 }, 3);
  }
  for (const tick of layout.ticks) pen.path(across(tick), { stroke: theme.line });
  pen.clip({ x: plot.x - 1, y: plot.y - 1, width: plot.width + 2, height: plot.height + 2 }, () => {
    data.series.forEach((series, k) => {
      for (let i = 0; i < data.labels.length; i++) drawBar(pen, data, layout, series, k, i, theme);
    });
  });
  if (value.domain[0] <= 0 && value.domain[1] >= 0) pen.path(across(0), { stroke: theme.muted });
  drawText(pen, box, data, layout, theme);
  return layout;
}

/** The rectangle of a bar, from zero to its value. */
function barBox(data: Bars, layout: BarsLayout, k: number, i: number, from: number, to: number): Box {
  const group = layout.group(i);
  const size = layout.horizontal ? group.height : group.width;
  const gap = Math.min(0.12 * size, 8);
  const wide = (size - 2 * gap) / data.series.length;
  // A hair of space between the bars of a group, where there is room for one.
  const thin = Math.max(1, wide - (wide > 6 ? 1 : 0));
  const at = gap + k * wide;
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  return layout.horizontal
    ? { x: low, y: group.y + at, width: high - low, height: thin }
    : { x: group.x + at, y: low, width: thin, height: high - low };
}

function drawBar(
  pen: Pen,
  data: Bars,
  layout: BarsLayout,
  series: BarSeries,
  k: number,
  i: number,
  theme: Theme,
): void {
  const value = series.values[i] ?? NaN;
  const { toPixel, domain } = layout.value;
  const zero = toPixel(Math.min(domain[1], Math.max(domain[0], 0)));
  const end = toPixel(value);
  // An outline around less than a pixel would look like a bar below zero.
  if (!Number.isFinite(end) || (series.hollow && Math.abs(end - zero) < 1)) return;
  const box = barBox(data, layout, k, i, zero, end);
  const colour = value < 0 ? (series.below ?? series.colour) : series.colour;
  if (series.hollow) pen.rect(box, { fill: colour, alpha: 0.15 });
  pen.rect(box, series.hollow ? { stroke: colour, width: 1.5 } : { fill: colour });
  const error = series.errors?.[i] ?? 0;
  if (!(error > 0 && error < Infinity)) return;
  const [low, high] = [toPixel(value - error), toPixel(value + error)];
  const middle = layout.horizontal ? box.y + box.height / 2 : box.x + box.width / 2;
  const [a, b] = [middle - 3, middle + 3];
  // prettier-ignore
  const whisker = layout.horizontal
    ? [low, middle, high, middle, NaN, NaN, low, a, low, b, NaN, NaN, high, a, high, b]
    : [middle, low, middle, high, NaN, NaN, a, low, b, low, NaN, NaN, a, high, b, high];
  pen.path(whisker, { stroke: theme.ink, width: 1.25 });
}

function drawText(pen: Pen, box: Box, data: Bars, layout: BarsLayout, theme: Theme): void {
  const labels = makeLabels(pen, box);
  const style: TextStyle = { fill: theme.muted, size: SIZE };
  const { plot, value, ticks, horizontal } = layout;
  const bottom = plot.y + plot.height;
  labels.put(box.x, box.y + 1, fitText(pen, data.value.label, style, box.width), {
    ...style,
    baseline: "top",
    weight: 500,
  });
  value.labels(ticks).forEach((text, i) => {
    const at = value.toPixel(ticks[i]!);
    if (horizontal) labels.put(at, bottom + 5, text, { ...style, anchor: "middle", baseline: "top" });
    else labels.put(plot.x - 6, at, text, { ...style, anchor: "end", baseline: "middle" });
  });
  const step = horizontal ? layout.group(0).height : layout.group(0).width;
  const widest = Math.max(0, ...data.labels.map((t) => pen.measure(t, style)));
  const every = Math.max(1, Math.ceil((horizontal ? SIZE + 3 : Math.min(widest, 90) + 6) / step));
  data.labels.forEach((text, i) => {
    if (i % every !== 0) return;
    const group = layout.group(i);
    const named = i === data.highlight ? { ...style, fill: theme.ink, weight: 600 } : style;
    if (horizontal) {
      const short = fitText(pen, text, named, plot.x - box.x - 8);
      labels.put(plot.x - 8, group.y + step / 2, short, { ...named, anchor: "end", baseline: "middle" });
    } else {
      const short = fitText(pen, text, named, every * step - 4);
      labels.put(group.x + step / 2, bottom + 5, short, { ...named, anchor: "middle", baseline: "top" });
    }
  });
  if (data.text) drawValues(data, layout, labels, theme);
}

/** The value of each bar beyond its end, where it keeps clear of everything else. */
function drawValues(data: Bars, layout: BarsLayout, labels: Labels, theme: Theme): void {
  const { toPixel } = layout.value;
  data.series.forEach((series, k) => {
    for (let i = 0; i < data.labels.length; i++) {
      const value = series.values[i] ?? NaN;
      const error = series.errors?.[i] ?? 0;
      const end = toPixel(value + (value < 0 ? -error : error));
      if (!data.text || !Number.isFinite(end)) continue;
      const box = barBox(data, layout, k, i, end, end);
      const style: TextStyle = { fill: theme.ink, size: SIZE, halo: theme.card };
      const out = value < 0 ? -4 : 4;
      if (layout.horizontal) {
        const anchor = value < 0 ? "end" : "start";
        labels.put(end + out, box.y + box.height / 2, data.text(value), {
          ...style,
          anchor,
          baseline: "middle",
        });
      } else {
        const baseline = value < 0 ? "top" : "bottom";
        labels.put(box.x + box.width / 2, end - out, data.text(value), {
          ...style,
          anchor: "middle",
          baseline,
        });
      }
    }
  });
}
