import { formatTick, linearTicks, logTicks, symlogTicks } from "./numbers";

/** How values become places: evenly, by their logarithm, or by their logarithm on both sides of zero. */
export type ScaleKind = "linear" | "log" | "symlog";

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

/** A scale from `domain` to `range` (pixels, either way round). `width` is where a symlog axis turns
 * logarithmic. */
export function makeScale(
  kind: ScaleKind,
  domain: readonly [number, number],
  range: readonly [number, number],
  width = 1,
): Scale {
  const forth: (v: number) => number =
    kind === "log"
      ? (v) => Math.log10(Math.max(v, domain[0]))
      : kind === "symlog"
        ? (v) => Math.sign(v) * Math.log1p(Math.abs(v) / width)
        : (v) => v;
  const back: (u: number) => number =
    kind === "log"
      ? (u) => 10 ** u
      : kind === "symlog"
        ? (u) => Math.sign(u) * Math.expm1(Math.abs(u)) * width
        : (u) => u;
  const [low, high] = [forth(domain[0]), forth(domain[1])];
  const slope = (range[1] - range[0]) / (high - low);
  return {
    kind,
    domain,
    toPixel: (value) => (Number.isFinite(value) ? range[0] + (forth(value) - low) * slope : NaN),
    toData: (pixel) => back(low + (pixel - range[0]) / slope),
    ticks(count) {
      if (kind === "log") return logTicks(domain[0], domain[1], count);
      if (kind === "symlog") return symlogTicks(domain[0], domain[1], width, count);
      return linearTicks(domain[0], domain[1], count);
    },
    labels(ticks) {
      const largest = Math.max(...ticks.map(Math.abs));
      if (kind !== "linear") return ticks.map((tick) => formatTick(tick));
      const step = ticks.length > 1 ? ticks[1]! - ticks[0]! : Math.abs(ticks[0] ?? 1) || 1;
      return ticks.map((tick) => formatTick(tick, step, largest));
    },
  };
}
