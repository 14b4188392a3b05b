import { formatTick, linearTicks, logTicks } from "./numbers";

/** How values become places: evenly, or by their logarithm. */
export type ScaleKind = "linear" | "log";

/** A map between values and pixels, both ways. */
export interface Scale {
  readonly kind: ScaleKind;
  readonly domain: readonly [number, number];
  /** The pixel of a value; NaN if it is not finite. Values at or below a logarithmic axis's end lie on that
   * end. */
  toPixel(value: number): number;
  toData(pixel: number): number;
  /** Round values along the axis, about `count`. */
  ticks(count: number): number[];
  /** What is written at each of these ticks. */
  labels(ticks: readonly number[]): string[];
}

/** A scale from `domain` to `range` (pixels, either way round). */
export function makeScale(
  kind: ScaleKind,
  domain: readonly [number, number],
  range: readonly [number, number],
): Scale {
  const log = kind === "log";
  const forth = (v: number) => (log ? Math.log10(Math.max(v, domain[0])) : v);
  const [low, high] = [forth(domain[0]), forth(domain[1])];
  const slope = (range[1] - range[0]) / (high - low);
  return {
    kind,
    domain,
    toPixel: (value) => (Number.isFinite(value) ? range[0] + (forth(value) - low) * slope : NaN),
    toData(pixel) {
      const place = low + (pixel - range[0]) / slope;
      return log ? 10 ** place : place;
    },
    ticks: (count) => (log ? logTicks : linearTicks)(domain[0], domain[1], count),
    labels(ticks) {
      if (log) return ticks.map((tick) => formatTick(tick));
      const largest = Math.max(...ticks.map(Math.abs));
      const step = ticks.length > 1 ? ticks[1]! - ticks[0]! : Math.abs(ticks[0] ?? 1) || 1;
      return ticks.map((tick) => formatTick(tick, step, largest));
    },
  };
}
