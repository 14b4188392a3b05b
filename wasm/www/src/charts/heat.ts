import { type ColourMap, tableIndex } from "./colour";
import type { Contour } from "./contour";
import type { Box, Pen } from "./pen";
import type { Theme } from "./theme";

/** Answers drawn by a policy. `ages` run from 0 (new) to 1 (gone). */
export interface Samples {
  readonly cells: ArrayLike<number>;
  readonly ages?: ArrayLike<number>;
}

/** What a heat map of a square of answers shows. */
export interface HeatMap {
  /** One value a cell, row by row; how many there are says how large the square is. */
  readonly values: ArrayLike<number>;
  /** The value with the strongest colour; the largest value if left out. */
  readonly max?: number;
  /** Exponent applied to value / max; 0.5 (the default) keeps small probabilities visible, 1 is linear. */
  readonly gamma?: number;
  /** Colour table; the theme's probability map if left out. */
  readonly map?: ColourMap;
  /** Values are differences: −max … max on the diverging map. */
  readonly difference?: boolean;
  readonly contours?: readonly Contour[];
  readonly samples?: Samples;
  /** Cells that count as modes, and whether each is found: a disc, or a hollow ring. */
  readonly peaks?: { readonly cells: ArrayLike<number>; readonly covered?: ArrayLike<boolean | number> };
  /** The cell under the pointer or the keyboard cursor. */
  readonly cursor?: number;
}

/** Where the cells of a grid lie. */
export interface GridLayout {
  readonly box: Box;
  readonly columns: number;
  readonly rows: number;
  /** The cell at a point, or −1. */
  cellAt(x: number, y: number): number;
  /** The rectangle of a cell. */
  cell(index: number): Box;
}

/** How many shades of age the dots have: each is drawn in one go. */
const SHADES = 5;

/** Lays a grid over a box. */
export function gridLayout(box: Box, columns: number, rows: number): GridLayout {
  const [w, h] = [box.width / columns, box.height / rows];
  return {
    box,
    columns,
    rows,
    cellAt(x, y) {
      const [column, row] = [Math.floor((x - box.x) / w), Math.floor((y - box.y) / h)];
      return column >= 0 && row >= 0 && column < columns && row < rows ? row * columns + column : -1;
    },
    cell: (i) => ({
      x: box.x + (i % columns) * w,
      y: box.y + Math.floor(i / columns) * h,
      width: w,
      height: h,
    }),
  };
}

/** The largest square in a box, in its middle, on whole pixels. */
export function squareIn(box: Box): Box {
  const size = Math.floor(Math.max(0, Math.min(box.width, box.height)));
  return {
    x: Math.round(box.x + (box.width - size) / 2),
    y: Math.round(box.y + (box.height - size) / 2),
    width: size,
    height: size,
  };
}

/** The largest absolute value that is a number; 1 where there is none, so that it can divide. */
export function largest(values: ArrayLike<number>): number {
  let max = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]!);
    if (size > max && size < Infinity) max = size;
  }
  return max || 1;
}

/** Where a value lies in its colour table, 0…1. In difference mode 0.5 is no difference. */
export function shade(value: number, max: number, gamma: number, difference: boolean): number {
  const t = Math.min(1, Math.abs(value) / max) ** gamma;
  return difference ? 0.5 + (value < 0 ? -t : t) / 2 : value > 0 ? t : 0;
}

/** RGBA of every cell; a cell without a number is left transparent. */
export function shades(
  values: ArrayLike<number>,
  map: ColourMap,
  max: number,
  gamma: number,
  difference: boolean,
): Uint8ClampedArray {
  const rgba = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const value = values[i]!;
    if (Number.isNaN(value)) continue;
    const from = 4 * tableIndex(shade(value, max, gamma, difference));
    for (let k = 0; k < 4; k++) rgba[4 * i + k] = map[from + k]!;
  }
  return rgba;
}

/** Where a dot lies in its cell, in cells: the same place for the same cell and number, away from the
 * walls. */
export function jitter(cell: number, number: number): [number, number] {
  let h = (Math.imul(cell + 1, 0x9e3779b1) ^ Math.imul(number + 1, 0x85ebca6b)) >>> 0;
  h = Math.imul(h ^ (h >>> 16), 0x7feb352d);
  h = Math.imul(h ^ (h >>> 15), 0x846ca68b);
  h = (h ^ (h >>> 16)) >>> 0;
  return [0.2 + (0.6 * (h & 0xffff)) / 0xffff, 0.2 + (0.6 * (h >>> 16)) / 0xffff];
}

/** Draws a square of answers into a box (in its middle, where the box is no square) and says where the
 * cells lie. */
export function heatMap(pen: Pen, box: Box, data: HeatMap, theme: Theme): GridLayout {
  const { values, difference = false, gamma = 0.5 } = data;
  const side = Math.floor(Math.sqrt(values.length));
  const layout = gridLayout(squareIn(box), side, side);
  const square = layout.box;
  const map = difference ? theme.difference : (data.map ?? theme.probability);
  const rgba = shades(values, map, data.max ?? largest(values), gamma, difference);
  pen.cells(square, side, rgba.subarray(0, 4 * side * side));
  pen.clip(square, () => {
    drawContours(pen, layout, data.contours ?? [], theme);
    if (data.samples) drawSamples(pen, layout, data.samples, theme);
  });
  pen.rect(square, { stroke: theme.line, width: 1 });
  if (data.peaks) drawPeaks(pen, layout, data.peaks, theme);
  if (data.cursor !== undefined && data.cursor >= 0 && data.cursor < side * side)
    drawCursor(pen, layout, data.cursor, theme);
  return layout;
}

/** A frame around one cell, in two tones so that it shows on any colour. */
export function drawCursor(pen: Pen, layout: GridLayout, cell: number, theme: Theme): void {
  const box = layout.cell(cell);
  pen.rect(box, { stroke: theme.card, width: 4 }, 2);
  pen.rect(box, { stroke: theme.ink, width: 2 }, 2);
}

function drawContours(pen: Pen, { box, columns }: GridLayout, list: readonly Contour[], theme: Theme): void {
  const scale = box.width / columns;
  for (const { loops } of list) {
    // All loops of a level in one path; a point that is no number parts them.
    const points: number[] = [];
    for (const loop of loops) {
      for (let i = 0; i < loop.length; i += 2)
        points.push(box.x + scale * loop[i]!, box.y + scale * loop[i + 1]!);
      points.push(NaN, NaN);
    }
    if (points.length === 0) continue;
    pen.path(points, { stroke: theme.card, width: 2.5, alpha: 0.45 }, true);
    pen.path(points, { stroke: theme.ink, width: 1, alpha: 0.65 }, true);
  }
}

function drawSamples(pen: Pen, layout: GridLayout, samples: Samples, theme: Theme): void {
  const { cells, ages } = samples;
  const groups: number[][] = Array.from({ length: SHADES }, () => []);
  const size = layout.box.width / layout.columns;
  const counts = new Map<number, number>();
  for (let i = 0; i < cells.length; i++) {
    const cell = cells[i]!;
    const age = ages?.[i] ?? 0;
    if (!(cell >= 0 && cell < layout.columns * layout.rows && age < 1)) continue;
    const number = counts.get(cell) ?? 0;
    counts.set(cell, number + 1);
    const [u, v] = jitter(cell, number);
    const { x, y } = layout.cell(cell);
    groups[Math.floor(Math.max(0, age) * SHADES)]!.push(x + u * size, y + v * size);
  }
  const radius = Math.min(3, Math.max(1.25, 0.13 * size));
  groups.forEach((centres, shade) => {
    if (centres.length === 0) return;
    const alpha = 1 - shade / SHADES;
    pen.circles(centres, radius + 0.75, { fill: theme.card, alpha: 0.7 * alpha });
    pen.circles(centres, radius, { fill: theme.sample, alpha });
  });
}

function drawPeaks(pen: Pen, layout: GridLayout, peaks: NonNullable<HeatMap["peaks"]>, theme: Theme): void {
  const radius = Math.min(9, Math.max(3.5, 0.36 * layout.cell(0).width));
  const found: number[] = [];
  const lost: number[] = [];
  for (let i = 0; i < peaks.cells.length; i++) {
    const { x, y, width, height } = layout.cell(peaks.cells[i]!);
    (peaks.covered?.[i] ? found : lost).push(x + width / 2, y + height / 2);
  }
  if (lost.length > 0) {
    pen.circles(lost, radius, { stroke: theme.card, width: 4.5, alpha: 0.9 });
    pen.circles(lost, radius, { stroke: theme.ink, width: 1.75 });
  }
  if (found.length > 0) pen.circles(found, 0.8 * radius, { fill: theme.ink, stroke: theme.card, width: 2 });
}
