import { decimate, nearest } from "./decimate";
import { rangeOf, roundDomain } from "./domain";
import { fitText, makeLabels } from "./labels";
import { formatNumber } from "./numbers";
import type { Box, Pen, TextStyle } from "./pen";
import { type Scale, type ScaleKind, makeScale } from "./scale";
import type { Theme } from "./theme";

/** One line. `x` ascends; where `y` is not finite the line is broken. */
export interface Series {
  readonly name: string;
  readonly colour: string;
  readonly x: ArrayLike<number>;
  readonly y: ArrayLike<number>;
  readonly dash?: readonly number[];
  readonly hidden?: boolean;
  /** An earlier branch of the run: drawn thin and faint, without a label. */
  readonly ghost?: boolean;
}

/** What a line chart shows. */
export interface LineChart {
  readonly series: readonly Series[];
  readonly x: {
    readonly label: string;
    readonly scale?: ScaleKind;
    readonly domain?: readonly [number, number];
  };
  readonly y: {
    readonly label: string;
    readonly scale?: ScaleKind;
    readonly domain?: readonly [number, number];
    /** Lower end of a logarithmic axis: where zeros are drawn. */
    readonly floor?: number;
  };
  /** Things that happened at an x, such as a change of β. */
  readonly marks?: readonly { readonly x: number; readonly text: string }[];
  /** Values to compare with, such as the exact log Z. */
  readonly references?: readonly { readonly y: number; readonly text: string }[];
  /** The x of a cursor shared by several charts. */
  readonly cursor?: number;
  /** Name the lines at their right ends. */
  readonly endLabels?: boolean;
}

/** Where a line chart's parts lie. */
export interface LineLayout {
  readonly plot: Box;
  readonly x: Scale;
  readonly y: Scale;
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
  toData(px: number, py: number): { x: number; y: number };
}

const SIZE = 11;
const ROW = 16;
const SWATCH = 14;

const shown = (data: LineChart) => data.series.filter((s) => !s.hidden);
const named = (data: LineChart) => (data.endLabels ? shown(data).filter((s) => !s.ghost) : []);

/** The most ticks whose labels keep clear of each other. */
function ticksThatFit(pen: Pick<Pen, "measure">, scale: Scale, room: number, style: TextStyle): number[] {
  for (let count = Math.min(10, Math.floor(room / 36)); count > 1; count--) {
    const ticks = scale.ticks(count);
    const labels = scale.labels(ticks);
    const clear = ticks.every((tick, i) => {
      if (i === 0) return true;
      const half = (pen.measure(labels[i]!, style) + pen.measure(labels[i - 1]!, style)) / 2;
      return Math.abs(scale.toPixel(tick) - scale.toPixel(ticks[i - 1]!)) >= half + 12;
    });
    if (clear) return ticks;
  }
  return scale.ticks(1).slice(0, 1);
}

/** Lays a line chart out without drawing it: to turn a pointer's place into data, for example. */
export function lineLayout(pen: Pick<Pen, "measure">, box: Box, data: LineChart): LineLayout {
  const style: TextStyle = { fill: "", size: SIZE };
  const kind = data.y.scale ?? "linear";
  const top = box.y + ROW + (data.marks?.length ? ROW : 4) + 4;
  const height = Math.max(1, box.y + box.height - 2 * ROW - 4 - top);
  const count = Math.max(2, Math.min(6, Math.floor(height / 34)));

  const references = (data.references ?? []).map((r) => r.y);
  const range = rangeOf([...shown(data).map((s) => s.y), references]);
  const yDomain = data.y.domain ?? roundDomain(kind, range, count, data.y.floor);
  const y = makeScale(kind, yDomain, [top + height, top]);
  const yTicks = y.ticks(count);

  const xs = rangeOf(shown(data).map((s) => s.x));
  const xDomain =
    data.x.domain ?? (xs.max > xs.min ? ([xs.min, xs.max] as const) : roundDomain("linear", xs, 2));
  const widest = (texts: readonly string[]) =>
    texts.reduce((most, t) => Math.max(most, pen.measure(t, style)), 0);
  const names = named(data).map((s) => s.name);
  const xKind = data.x.scale ?? "linear";
  const edge = widest(makeScale(xKind, xDomain, [0, 1]).labels(xDomain)) / 2 + 2;
  const left = box.x + Math.max(Math.ceil(widest(y.labels(yTicks))) + 8, edge);
  const margin = names.length ? Math.min(widest(names) + SWATCH + 10, 0.4 * box.width) : 4;
  const width = Math.max(1, box.x + box.width - Math.max(margin, edge) - left);
  const x = makeScale(xKind, xDomain, [left, left + width]);
  return {
    plot: { x: left, y: top, width, height },
    x,
    y,
    xTicks: ticksThatFit(pen, x, width, style),
    yTicks,
    toData: (px, py) => ({ x: x.toData(px), y: y.toData(py) }),
  };
}

/** A line in pixels, thinned to what the screen can show. */
function pixels(s: Series, x: Scale, y: Scale): Float64Array {
  const count = Math.min(s.x.length, s.y.length);
  const points = new Float64Array(2 * count);
  for (let i = 0; i < count; i++) {
    points[2 * i] = x.toPixel(s.x[i]!);
    points[2 * i + 1] = y.toPixel(s.y[i]!);
  }
  return decimate(points);
}

const across = (y: number, { x, width }: Box) => [x, y, x + width, y];
const upright = (x: number, { y, height }: Box) => [x, y, x, y + height];
const crisp = (pixel: number) => Math.round(pixel) + 0.5;

/** Draws a line chart into a box and says where its parts lie. */
export function lineChart(pen: Pen, box: Box, data: LineChart, theme: Theme): LineLayout {
  const layout = lineLayout(pen, box, data);
  const { plot, x, y } = layout;
  const bottom = plot.y + plot.height;
  for (const tick of layout.yTicks) pen.path(across(crisp(y.toPixel(tick)), plot), { stroke: theme.line });
  pen.path(across(crisp(bottom), plot), { stroke: theme.muted });
  for (const tick of layout.xTicks) {
    const at = crisp(x.toPixel(tick));
    pen.path([at, bottom, at, bottom + 4], { stroke: theme.muted });
  }

  pen.clip({ x: plot.x, y: plot.y - 2, width: plot.width + 2, height: plot.height + 4 }, () => {
    for (const mark of data.marks ?? []) {
      pen.path(upright(crisp(x.toPixel(mark.x)), plot), { stroke: theme.muted, dash: [2, 3] });
    }
    for (const reference of data.references ?? []) {
      const paint = { stroke: theme.muted, width: 1.25, dash: [5, 4] };
      pen.path(across(crisp(y.toPixel(reference.y)), plot), paint);
    }
    for (const ghost of [true, false]) {
      for (const s of shown(data)) {
        if (Boolean(s.ghost) !== ghost) continue;
        const paint = { stroke: s.colour, width: ghost ? 1 : 2, alpha: ghost ? 0.35 : 1 };
        pen.path(pixels(s, x, y), s.dash ? { ...paint, dash: s.dash } : paint);
      }
    }
    drawCursor(pen, data, layout, theme);
  });
  drawText(pen, box, data, layout, theme);
  return layout;
}

function drawCursor(pen: Pen, data: LineChart, { plot, x, y }: LineLayout, theme: Theme): void {
  if (data.cursor === undefined) return;
  pen.path(upright(crisp(x.toPixel(data.cursor)), plot), { stroke: theme.ink, alpha: 0.55 });
  for (const s of shown(data)) {
    const i = s.ghost ? -1 : nearest(s.x, data.cursor);
    const at = [x.toPixel(s.x[i] ?? NaN), y.toPixel(s.y[i] ?? NaN)];
    // Where the line has not come or has ended, there is nothing to mark.
    if (!Number.isFinite(at[0]! + at[1]!) || outside(data.cursor, s.x)) continue;
    pen.circles(at, 3.5, { fill: s.colour, stroke: theme.card, width: 1.5 });
  }
}

const outside = (x: number, xs: ArrayLike<number>) => x < xs[0]! || x > xs[xs.length - 1]!;

function drawText(
  pen: Pen,
  box: Box,
  data: LineChart,
  { plot, x, y, xTicks, yTicks }: LineLayout,
  theme: Theme,
): void {
  const labels = makeLabels(pen, box);
  const small: TextStyle = { fill: theme.muted, size: SIZE };
  const bottom = plot.y + plot.height;
  const put = (px: number, py: number, text: string, style: TextStyle, room = box.width) =>
    labels.put(px, py, fitText(pen, text, style, room), style);

  put(box.x, box.y + 2, data.y.label, { ...small, baseline: "top", weight: 500 });
  const right = plot.x + plot.width;
  put(
    right,
    box.y + box.height - 2,
    data.x.label,
    { ...small, anchor: "end", baseline: "bottom" },
    plot.width,
  );
  if (data.cursor !== undefined && data.cursor >= x.domain[0] && data.cursor <= x.domain[1]) {
    const text = formatNumber(data.cursor, 6);
    const half = pen.measure(text, small) / 2;
    const at = Math.min(box.x + box.width - half, Math.max(box.x + half, x.toPixel(data.cursor)));
    put(at, bottom + 6, text, {
      fill: theme.ink,
      size: SIZE,
      weight: 600,
      anchor: "middle",
      baseline: "top",
    });
    labels.reserve({ x: at - half - 8, y: bottom + 6, width: 2 * half + 16, height: SIZE });
  }
  const xLabels = x.labels(xTicks);
  xTicks.forEach((tick, i) => {
    put(x.toPixel(tick), bottom + 6, xLabels[i]!, { ...small, anchor: "middle", baseline: "top" });
  });
  const yLabels = y.labels(yTicks);
  yTicks.forEach((tick, i) => {
    put(plot.x - 6, y.toPixel(tick), yLabels[i]!, { ...small, anchor: "end", baseline: "middle" });
  });
  for (const mark of data.marks ?? []) {
    const at = x.toPixel(mark.x);
    if (!(at >= plot.x && at <= right)) continue;
    const style: TextStyle = { ...small, baseline: "bottom" };
    // Beside the top of its line, on the side where there is room.
    if (!put(at, plot.y - 2, mark.text, style)) put(at, plot.y - 2, mark.text, { ...style, anchor: "end" });
  }
  for (const reference of data.references ?? []) {
    const at = y.toPixel(reference.y);
    if (!(at >= plot.y && at <= bottom)) continue;
    const style: TextStyle = { fill: theme.ink, size: SIZE, anchor: "end", halo: theme.card };
    const above = put(right - 4, at - 3, reference.text, { ...style, baseline: "bottom" }, plot.width);
    if (!above) put(right - 4, at + 4, reference.text, { ...style, baseline: "top" }, plot.width);
  }
  endLabels(pen, data, y, plot).forEach(({ series, at }) => {
    const room = box.x + box.width - right - SWATCH - 8;
    const text = fitText(pen, series.name, small, room);
    if (!labels.put(right + SWATCH + 8, at, text, { ...small, fill: theme.ink, baseline: "middle" })) return;
    const swatch = { stroke: series.colour, width: 2 };
    pen.path(
      [right + 5, at, right + 5 + SWATCH, at],
      series.dash ? { ...swatch, dash: series.dash } : swatch,
    );
  });
}

/** Heights of the names: at the ends of their lines, pushed apart where those are close. */
function endLabels(pen: Pen, data: LineChart, y: Scale, plot: Box): { series: Series; at: number }[] {
  const gap = SIZE + 3;
  const ends = named(data).flatMap((series) => {
    let i = series.y.length - 1;
    while (i >= 0 && !Number.isFinite(series.y[i])) i--;
    return i < 0
      ? []
      : [{ series, at: Math.min(plot.y + plot.height, Math.max(plot.y, y.toPixel(series.y[i]!))) }];
  });
  ends.sort((a, b) => a.at - b.at);
  // Down from the top, then back up from the bottom: after both, neighbours are apart and inside.
  for (let i = 1; i < ends.length; i++) ends[i]!.at = Math.max(ends[i]!.at, ends[i - 1]!.at + gap);
  let limit = Math.min(plot.y + plot.height, pen.height - SIZE / 2);
  for (let i = ends.length - 1; i >= 0; i--, limit -= gap) ends[i]!.at = Math.min(ends[i]!.at, limit);
  return ends;
}
