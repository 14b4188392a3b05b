import { type ColourMap, colourAt, contrast, parseColour } from "./colour";
import { type GridLayout, drawCursor, gridLayout, shade, shades } from "./heat";
import { fitText, makeLabels } from "./labels";
import type { Box, Pen, TextStyle } from "./pen";
import type { Theme } from "./theme";

/** One way along a grid map: a value for each column or row, in order. */
export interface GridAxis {
  readonly label: string;
  readonly values: readonly number[];
}

/** Outcomes over two settings, such as the KL over β and learning rate. */
export interface GridMap {
  readonly columns: GridAxis;
  /** From the bottom up. */
  readonly rows: GridAxis;
  /** Row by row from the bottom; NaN where there is no outcome yet. */
  readonly values: ArrayLike<number>;
  /** The value with the strongest colour of the map. */
  readonly max: number;
  readonly map: ColourMap;
  /** The cell that is chosen, and the one under the pointer; −1 for none. */
  readonly selected: number;
  readonly cursor: number;
  /** A short text in each cell, where it fits. */
  readonly text: (index: number) => string;
}

const SIZE = 11;
const ROW = 16;

/** Lays a grid map of at least one cell out without drawing it. Cells are numbered as in `values`. */
export function gridMapLayout(pen: Pick<Pen, "measure">, box: Box, data: GridMap): GridLayout {
  const style: TextStyle = { fill: "", size: SIZE };
  const widest = Math.max(...data.rows.values.map((v) => pen.measure(String(v), style)));
  const left = Math.ceil(widest) + 8;
  const inner = {
    x: box.x + left,
    y: box.y + ROW + 4,
    width: Math.max(1, box.width - left - 4),
    height: Math.max(1, box.height - 3 * ROW - 6),
  };
  const [columns, rows] = [data.columns.values.length, data.rows.values.length];
  const grid = gridLayout(inner, columns, rows);
  // Rows count from the bottom, as on any axis.
  const flip = (i: number) => (rows - 1 - Math.floor(i / columns)) * columns + (i % columns);
  return {
    ...grid,
    cellAt(x, y) {
      const cell = grid.cellAt(x, y);
      return cell < 0 ? -1 : flip(cell);
    },
    cell: (i) => grid.cell(flip(i)),
  };
}

/** Draws a grid map into a box and says where its cells lie. */
export function gridMap(pen: Pen, box: Box, data: GridMap, theme: Theme): GridLayout {
  const layout = gridMapLayout(pen, box, data);
  const { columns, rows } = layout;
  const count = columns * rows;
  const flipped = Float64Array.from({ length: count }, (_, i) => {
    return data.values[(rows - 1 - Math.floor(i / columns)) * columns + (i % columns)] ?? NaN;
  });
  const { map, max, cursor, selected } = data;
  pen.rect(layout.box, { fill: theme.paper });
  pen.cells(layout.box, columns, shades(flipped, map, max, 1, false));
  for (let i = 0; i < count; i++) pen.rect(layout.cell(i), { stroke: theme.card });
  drawAxes(pen, box, data, layout, theme);
  drawTexts(pen, data, layout, theme);
  if (cursor >= 0) {
    pen.rect(layout.cell(cursor), { stroke: theme.card, width: 3.5 }, 2);
    pen.rect(layout.cell(cursor), { stroke: theme.ink, width: 1.5, dash: [3, 2] }, 2);
  }
  if (selected >= 0) drawCursor(pen, layout, selected, theme);
  return layout;
}

function drawAxes(pen: Pen, box: Box, data: GridMap, layout: GridLayout, theme: Theme): void {
  const labels = makeLabels(pen, box);
  const style: TextStyle = { fill: theme.muted, size: SIZE };
  const { box: inner, columns, rows } = layout;
  const put = (x: number, y: number, text: string, more: Partial<TextStyle>, room = box.width) =>
    labels.put(x, y, fitText(pen, text, style, room), { ...style, ...more });
  put(box.x, box.y + 1, data.rows.label, { baseline: "top", weight: 500 });
  const [right, bottom] = [inner.x + inner.width, inner.y + inner.height];
  put(
    right,
    box.y + box.height - 2,
    data.columns.label,
    { anchor: "end", baseline: "bottom", weight: 500 },
    inner.width,
  );
  // Every second label, every third …: as few as keep all of them apart.
  const widest = Math.max(...data.columns.values.map((v) => pen.measure(String(v), style)));
  const every = Math.max(1, Math.ceil((widest + 8) / (inner.width / columns)));
  for (let i = 0; i < columns; i += every) {
    const { x, width } = layout.cell(i);
    put(x + width / 2, bottom + 5, String(data.columns.values[i]), { anchor: "middle", baseline: "top" });
  }
  const step = Math.max(1, Math.ceil((SIZE + 3) / (inner.height / rows)));
  for (let i = 0; i < rows; i += step) {
    const { y, height } = layout.cell(i * columns);
    put(inner.x - 6, y + height / 2, String(data.rows.values[i]), { anchor: "end", baseline: "middle" });
  }
}

/** The texts of the cells, in whichever of the theme's ink and card stands out from the cell. */
function drawTexts(pen: Pen, data: GridMap, layout: GridLayout, theme: Theme): void {
  for (let i = 0; i < layout.columns * layout.rows; i++) {
    const value = data.values[i] ?? NaN;
    if (Number.isNaN(value)) continue;
    const { x, y, width, height } = layout.cell(i);
    const text = data.text(i);
    const ground = parseColour(colourAt(data.map, shade(value, data.max, 1, false)))!;
    const against = (ink: string) => contrast(parseColour(ink) ?? [0, 0, 0], ground);
    const fill = against(theme.ink) >= against(theme.card) ? theme.ink : theme.card;
    const style: TextStyle = { fill, size: SIZE, anchor: "middle", baseline: "middle" };
    if (pen.measure(text, style) > width - 6 || height < SIZE + 5) continue;
    pen.text(x + width / 2, y + height / 2, text, style);
  }
}
