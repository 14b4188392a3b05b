// Lines of equal height on a grid, by marching squares.

/** Closed loops, each flat (`x0, y0, x1, y1, …`, the last point is not repeated). One unit is a cell, the
 * middle of the first cell is at (0.5, 0.5). */
export type Loops = readonly Float32Array[];

/** The loops of one height. */
export interface Contour {
  readonly level: number;
  readonly loops: Loops;
}

/**
 * How a line crosses a square of corners: by which of these are high (1 top left, 2 top right, 4 bottom right, 8 bottom left), the
 * edges it comes from and goes to (0 top, 1 right, 2 bottom, 3 left), one pair after the other.
 */
const STEPS: readonly (readonly number[])[] = [
  [], [3, 0], [0, 1], [3, 1], [1, 2], [3, 0, 1, 2], [0, 2], [3, 2], [2, 3], [2, 0], [0, 1, 2, 3], [2, 1], [1, 3], [1, 0], [0, 3], [],
];
/** The same where two opposite corners are high, and so is the ground between them. */
const JOINED: Readonly<Record<number, readonly number[]>> = { 5: [3, 2, 1, 0], 10: [0, 3, 2, 1] };

/** The loops around where `values` (row by row, `columns` a row) exceed `level`. Outside the grid lies the
 * lowest ground, so that every loop closes, along the rim if need be. */
export function contourLoops(values: ArrayLike<number>, columns: number, level: number): Loops {
  const rows = Math.floor(values.length / columns);
  if (columns < 1 || rows < 1 || !Number.isFinite(level)) return [];
  // Corners: the middles of the cells and a rim of low ground around them.
  const wide = columns + 2;
  const corners = wide * (rows + 2);
  const height = new Float64Array(corners).fill(NaN);
  let peak = 0;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const above = values[row * columns + column]! - level;
      height[(row + 1) * wide + column + 1] = above;
      if (above > peak && above < Infinity) peak = above;
    }
  }
  if (peak <= 0) return [];
  // As far below the level as the peak is above: the line keeps within the cells of the rim.
  for (let i = 0; i < corners; i++) if (!Number.isFinite(height[i])) height[i] = -peak;

  // Each edge between two corners is crossed at most once, so a loop is a chain of edges: 2·corner is the
  // edge to the right of a corner, 2·corner + 1 the one below it. High ground lies on the left of the way.
  const next = new Int32Array(2 * corners).fill(-1);
  for (let y = 0; y <= rows; y++) {
    for (let x = 0; x <= columns; x++) {
      const a = y * wide + x;
      const edges = [2 * a, 2 * (a + 1) + 1, 2 * (a + wide), 2 * a + 1];
      const square = [height[a]!, height[a + 1]!, height[a + wide + 1]!, height[a + wide]!];
      const which = square.reduce((bits, h, i) => bits | (h > 0 ? 1 << i : 0), 0);
      const joined = square.reduce((sum, h) => sum + h, 0) > 0;
      const steps = (joined && JOINED[which]) || STEPS[which]!;
      for (let i = 0; i < steps.length; i += 2) next[edges[steps[i]!]!] = edges[steps[i + 1]!]!;
    }
  }

  const loops: Float32Array[] = [];
  for (let start = 0; start < next.length; start++) {
    if (next[start]! < 0) continue;
    const points: number[] = [];
    for (let edge = start; next[edge]! >= 0;) {
      const corner = edge >> 1;
      const down = edge & 1;
      const [from, to] = [height[corner]!, height[corner + (down ? wide : 1)]!];
      const t = from / (from - to);
      const x = (corner % wide) - 0.5 + (down ? 0 : t);
      const y = Math.floor(corner / wide) - 0.5 + (down ? t : 0);
      points.push(Math.min(columns, Math.max(0, x)), Math.min(rows, Math.max(0, y)));
      const following = next[edge]!;
      next[edge] = -1;
      edge = following;
    }
    loops.push(Float32Array.from(points));
  }
  return loops;
}

/** A loop with its corners cut off (twice, by Chaikin's rule): a coarse grid's polygons become round. */
export function roundLoop(loop: Float32Array): Float32Array {
  let points = loop;
  for (let pass = 0; pass < 2; pass++) {
    const cut = new Float32Array(2 * points.length);
    for (let i = 0; i < points.length; i += 2) {
      const j = (i + 2) % points.length;
      for (let k = 0; k < 2; k++) {
        const [a, b] = [points[i + k]!, points[j + k]!];
        cut[2 * i + k] = 0.75 * a + 0.25 * b;
        cut[2 * i + 2 + k] = 0.25 * a + 0.75 * b;
      }
    }
    points = cut;
  }
  return points;
}

/** The contours of several levels, rounded. Compute them when the field changes, not for every frame. */
export function contours(values: ArrayLike<number>, columns: number, levels: readonly number[]): Contour[] {
  return levels.map((level) => ({ level, loops: contourLoops(values, columns, level).map(roundLoop) }));
}

/** The heights above which lie the given shares of all probability: `massLevels(target, [0.5, 0.9])`. */
export function massLevels(values: ArrayLike<number>, shares: readonly number[]): number[] {
  const sorted = Float64Array.from(values)
    .filter((v) => v > 0)
    .sort()
    .reverse();
  const total = sorted.reduce((sum, v) => sum + v, 0);
  return shares.map((share) => {
    let sum = 0;
    let last = 0;
    while (last < sorted.length - 1 && (sum += sorted[last]!) < share * total) last++;
    const inside = sorted[last] ?? 0;
    // Halfway to the first cell that is really lower, so that equal cells are all inside.
    return (inside + (sorted.find((v) => v < inside * (1 - 1e-9)) ?? 0)) / 2;
  });
}
