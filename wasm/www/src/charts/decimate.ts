/** Points drawn as they are; above this many, each column of pixels keeps its first, lowest, highest and
 * last. */
export const MOST_POINTS = 2000;

/** Thins a line (flat pixels, x ascending, NaN where it is broken) to what a screen can show: no peak gets
 * lost. */
export function decimate(points: Float64Array, most = MOST_POINTS): Float64Array {
  const count = points.length / 2;
  if (count <= most) return points;
  const out: number[] = [];
  const keep = (i: number) => out.push(points[2 * i]!, points[2 * i + 1]!);
  for (let from = 0, to = 0; from < count; from = to) {
    if (!Number.isFinite(points[2 * from]! + points[2 * from + 1]!)) {
      // Any number of missing points in a row is one gap.
      if (Number.isFinite(out[out.length - 1])) out.push(NaN, NaN);
      to = from + 1;
      continue;
    }
    const column = Math.floor(points[2 * from]!);
    let [low, high] = [from, from];
    for (to = from; to < count && Math.floor(points[2 * to]!) === column; to++) {
      const y = points[2 * to + 1]!;
      if (!Number.isFinite(y)) break;
      if (y < points[2 * low + 1]!) low = to;
      if (y > points[2 * high + 1]!) high = to;
    }
    for (const i of [...new Set([from, Math.min(low, high), Math.max(low, high), to - 1])]) keep(i);
  }
  return Float64Array.from(out);
}

/** The index of the value nearest to `x` in an ascending list; −1 if it is empty. */
export function nearest(xs: ArrayLike<number>, x: number): number {
  let [low, high] = [0, xs.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (xs[middle]! <= x) low = middle;
    else high = middle;
  }
  if (high < 0) return -1;
  return Math.abs(xs[high]! - x) < Math.abs(xs[low]! - x) ? high : low;
}
