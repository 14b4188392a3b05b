import { ANSWERS, type Drawing, SIDE } from "../state";

/** What a stroke does to the cells below it. */
export type Tool = "raise" | "lower" | "smooth" | "erase";
/** Which of the two fields is drawn. */
export type Layer = "rewards" | "reference";

/** Shades of a field, 0…255, after one touch of the brush at a cell. `strength` is between 0 and 1. */
export function paint(shades: Uint8Array, cell: number, tool: Tool, radius: number, strength: number): Uint8Array {
  const next = Uint8Array.from(shades);
  const [row, column] = [Math.floor(cell / SIDE), cell % SIDE];
  for (let y = Math.max(0, row - radius); y <= Math.min(SIDE - 1, row + radius); y++) {
    for (let x = Math.max(0, column - radius); x <= Math.min(SIDE - 1, column + radius); x++) {
      const distance = Math.hypot(y - row, x - column) / (radius + 0.5);
      if (distance > 1) continue;
      const weight = strength * (1 - distance * distance);
      const i = y * SIDE + x;
      const old = shades[i] ?? 0;
      const change = { raise: 255 * weight, lower: -255 * weight, smooth: (meanAround(shades, y, x) - old) * Math.min(1, 3 * weight), erase: -old }[tool];
      // At least one shade, or a soft brush would never get anywhere.
      const stepped = tool === "raise" ? Math.ceil(change) : tool === "lower" ? Math.floor(change) : Math.round(change);
      next[i] = Math.min(255, Math.max(0, old + stepped));
    }
  }
  return next;
}

function meanAround(shades: Uint8Array, row: number, column: number): number {
  let [sum, count] = [0, 0];
  for (let y = Math.max(0, row - 1); y <= Math.min(SIDE - 1, row + 1); y++) {
    for (let x = Math.max(0, column - 1); x <= Math.min(SIDE - 1, column + 1); x++) {
      sum += shades[y * SIDE + x] ?? 0;
      count += 1;
    }
  }
  return sum / count;
}

/** Cells that a straight stroke between two cells touches. */
export function between(from: number, to: number): number[] {
  const [y0, x0, y1, x1] = [Math.floor(from / SIDE), from % SIDE, Math.floor(to / SIDE), to % SIDE];
  const steps = Math.max(Math.abs(y1 - y0), Math.abs(x1 - x0), 1);
  return Array.from({ length: steps }, (_, i) => {
    const t = (i + 1) / steps;
    return Math.round(y0 + t * (y1 - y0)) * SIDE + Math.round(x0 + t * (x1 - x0));
  });
}

/** A landscape in the shades of a drawing: rewards of 0…1, a reference by its largest weight. */
export function shadesOf(rewards: ArrayLike<number>, reference: ArrayLike<number>): Drawing {
  let most = 0;
  for (let i = 0; i < reference.length; i++) most = Math.max(most, reference[i] ?? 0);
  const shade = (x: number) => Math.round(255 * Math.min(1, Math.max(0, x)));
  return {
    rewards: Uint8Array.from({ length: ANSWERS }, (_, i) => shade(rewards[i] ?? 0)),
    reference: Uint8Array.from({ length: ANSWERS }, (_, i) => shade(most > 0 ? (reference[i] ?? 0) / most : 1)),
  };
}

/** A drawing that leaves the reference some weight: where a stroke took the last, it stays. */
export const isDrawing = ({ reference }: Drawing): boolean => reference.some((weight) => weight > 0);
