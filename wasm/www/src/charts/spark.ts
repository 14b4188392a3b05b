import { decimate } from "./decimate";
import type { Box, Pen } from "./pen";
import { makeScale } from "./scale";

/** A line without axes, the size of a word, on a logarithmic scale. */
export interface Sparkline {
  /** Ascending. */
  readonly x: ArrayLike<number>;
  readonly values: ArrayLike<number>;
  readonly colour: string;
  readonly domain: readonly [number, number];
}

/** Draws a sparkline of at least two points with a dot at its end. */
export function sparkline(pen: Pen, box: Box, { x: xs, values, colour, domain }: Sparkline): void {
  const pad = 3;
  const y = makeScale("log", domain, [box.y + box.height - pad, box.y + pad]);
  const ends = [xs[0]!, xs[xs.length - 1]!] as const;
  const x = makeScale("linear", ends, [box.x + 1, box.x + box.width - pad - 1]);
  const points = Float64Array.from({ length: 2 * values.length }, (_, i) => (i % 2 ? y.toPixel(values[i >> 1]!) : x.toPixel(xs[i >> 1]!)));
  pen.clip(box, () => {
    pen.path(decimate(points), { stroke: colour, width: 1.5 });
    pen.circles(points.slice(-2), 2.25, { fill: colour });
  });
}
