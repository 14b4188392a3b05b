import { roundStep } from "./numbers";
import type { ScaleKind } from "./scale";

/** Zeros on a logarithmic axis are drawn at its end, which is at most this far below the largest value. */
export const DEEPEST = 1e-8;

/** The range of some values; the ends are ±Infinity where there are none. */
export interface Range {
  readonly min: number;
  readonly max: number;
  /** The smallest value above zero. */
  readonly positive: number;
}

/** The range of all finite values of several lists. */
export function rangeOf(lists: Iterable<ArrayLike<number>>): Range {
  let [min, max, positive] = [Infinity, -Infinity, Infinity];
  for (const list of lists) {
    for (let i = 0; i < list.length; i++) {
      const v = list[i]!;
      if (!Number.isFinite(v)) continue;
      if (v < min) min = v;
      if (v > max) max = v;
      if (v > 0 && v < positive) positive = v;
    }
  }
  return { min, max, positive };
}

/** The next 1, 2 or 5 times a power of ten at or beyond a value. */
function roundOut(value: number, up: boolean): number {
  const power = Math.floor(Math.log10(value) + 1e-9);
  const lead = value / 10 ** power;
  const rounds = [1, 2, 5, 10];
  const near = up ? rounds.find((r) => r >= lead - 1e-9) : rounds.reverse().find((r) => r <= lead + 1e-9);
  return Number(`${near ?? 1}e${power}`);
}

/** A round domain around a range. `floor` is the lower end of a logarithmic axis, if one is wanted. */
export function roundDomain(
  kind: ScaleKind,
  { min, max, positive }: Range,
  ticks: number,
  floor = 0,
): [number, number] {
  if (kind === "log") {
    const top = max > 0 ? max : floor > 0 ? 10 * floor : 1;
    const bottom = floor > 0 ? floor : Math.max(Math.min(positive, top), top * DEEPEST);
    const [low, high] = [floor > 0 ? floor : roundOut(bottom, false), roundOut(top, true)];
    return high > low ? [low, high] : [low, 10 * low];
  }
  if (!(max >= min)) return [0, 1];
  if (max === min) return min === 0 ? [0, 1] : [Math.min(0, 2 * min), Math.max(0, 2 * max)];
  const step = roundStep(max - min, ticks);
  const round = (v: number) => Number((v * step).toPrecision(12));
  return [round(Math.floor(min / step + 1e-9)), round(Math.ceil(max / step - 1e-9))];
}
