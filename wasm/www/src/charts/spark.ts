import { decimate } from "./decimate";
import { rangeOf, roundDomain } from "./domain";
import type { Box, Pen } from "./pen";
import { type ScaleKind, makeScale } from "./scale";
import type { Theme } from "./theme";

/** A line without axes, the size of a word. */
export interface Sparkline {
  readonly values: ArrayLike<number>;
  /** Ascending; equal steps if left out. */
  readonly x?: ArrayLike<number>;
  readonly colour: string;
  readonly scale?: ScaleKind;
  readonly domain?: readonly [number, number];
  /** A value to compare with, as a dashed line. */
  readonly reference?: number;
}

/** Draws a sparkline with a dot at its end. */
export function sparkline(pen: Pen, box: Box, data: Sparkline, theme: Theme): void {
  const { values, x: xs } = data;
  const kind = data.scale ?? "linear";
  const range = rangeOf([values, data.reference === undefined ? [] : [data.reference]]);
  const domain = data.domain ?? roundDomain(kind, range, 2);
  const pad = 3;
  const y = makeScale(kind, domain, [box.y + box.height - pad, box.y + pad]);
  const last = values.length - 1;
  const ends = [xs?.[0] ?? 0, xs?.[last] ?? last] as const;
  const x = makeScale("linear", ends[1] > ends[0] ? ends : [0, 1], [box.x + 1, box.x + box.width - pad - 1]);
  const points = new Float64Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    points[2 * i] = x.toPixel(xs?.[i] ?? i);
    points[2 * i + 1] = y.toPixel(values[i]!);
  }
  pen.clip(box, () => {
    if (data.reference !== undefined) {
      const at = Math.round(y.toPixel(data.reference)) + 0.5;
      pen.path([box.x, at, box.x + box.width, at], { stroke: theme.muted, dash: [3, 3] });
    }
    pen.path(decimate(points), { stroke: data.colour, width: 1.5 });
    const end = points.slice(-2);
    if (Number.isFinite(end[0]! + end[1]!)) pen.circles(end, 2.25, { fill: data.colour });
  });
}
