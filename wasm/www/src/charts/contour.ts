// Lines of equal height on a grid, by marching squares.

/** Closed loops, each flat (`x0, y0, x1, y1, …`, the last point is not repeated). One unit is a cell, the
 * middle of the first cell is at (0.5, 0.5). */
export type Loops = readonly Float32Array[];

/** The loops of one height. */
export interface Contour {
  readonly level: number;
  readonly loops: Loops;
}

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
      const [top, right, bottom, left] = [2 * a, 2 * (a + 1) + 1, 2 * (a + wide), 2 * a + 1];
      const [ha, hb, hc, hd] = [height[a]!, height[a + 1]!, height[a + wide + 1]!, height[a + wide]!];
      const which = (ha > 0 ? 1 : 0) | (hb > 0 ? 2 : 0) | (hc > 0 ? 4 : 0) | (hd > 0 ? 8 : 0);
      const joined = ha + hb + hc + hd > 0;
      // prettier-ignore
      switch (which) {
        case 1: next[left] = top; break;
        case 2: next[top] = right; break;
        case 3: next[left] = right; break;
        case 4: next[right] = bottom; break;
        case 5:
          if (joined) { next[left] = bottom; next[right] = top; }
          else { next[left] = top; next[right] = bottom; }
          break;
        case 6: next[top] = bottom; break;
        case 7: next[left] = bottom; break;
        case 8: next[bottom] = left; break;
        case 9: next[bottom] = top; break;
        case 10:
          if (joined) { next[top] = left; next[bottom] = right; }
          else { next[top] = right; next[bottom] = left; }
          break;
        case 11: next[bottom] = right; break;
        case 12: next[right] = left; break;
        case 13: next[right] = top; break;
        case 14: next[top] = left; break;
      }
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
