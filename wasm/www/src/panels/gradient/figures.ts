import { type LineLayout, type Pen, type Theme, legendBar, legendHeight, lineChart, shades, whole } from "../../charts";
import { SIDE } from "../../state";
import { BATCHES, type Curve } from "./curve";

const LEGEND = legendHeight({ max: 1 });
/** Pixels between the strip of the rows and the square of the columns. */
const GAP = 6;

/** The height of a gradient's map. */
export const mapHeight = (width: number): number => Math.round((SIDE * (Math.min(width, 380) - GAP)) / (SIDE + 1)) + 22 + LEGEND + 8;

/** Draws a gradient by the logits of a table: a strip of the rows, beside it the square of the columns. */
export function drawGradient(pen: Pen, theme: Theme, gradient: ArrayLike<number>, max: number): void {
  const width = Math.min(pen.width, 380);
  const cell = (width - GAP) / (SIDE + 1);
  const left = Math.round((pen.width - width) / 2);
  const rgba = shades(gradient, theme.difference, max, 0.5, true);
  const size = SIDE * cell;
  const strip = { x: left, y: 20, width: cell, height: size };
  const square = { x: left + cell + GAP, y: 20, width: size, height: size };
  pen.cells(strip, 1, rgba.subarray(0, 4 * SIDE));
  pen.cells(square, SIDE, rgba.subarray(4 * SIDE));
  for (const box of [strip, square]) pen.rect(box, { stroke: theme.line });
  const style = { fill: theme.muted, size: 11, baseline: "bottom" } as const;
  pen.text(left, 15, "row", style);
  pen.text(square.x + size, 15, "column, given the row", { ...style, anchor: "end" });
  legendBar(pen, { x: left, y: 20 + size + 8, width, height: LEGEND }, { max, difference: true }, theme);
}

/** How a source of log Z is drawn. */
export interface Look {
  readonly name: string;
  readonly colour: (theme: Theme) => string;
  readonly dash: readonly number[];
}

/** Draws cosines over batch sizes, each with its spread as a whisker. */
export function drawCurves(pen: Pen, theme: Theme, curves: readonly Curve[], looks: readonly Look[], batch: number): void {
  const series = curves.map(({ mean }, i) => ({ name: looks[i]!.name, colour: looks[i]!.colour(theme), dash: looks[i]!.dash, x: BATCHES, y: mean }));
  const layout: LineLayout = lineChart(
    pen,
    whole(pen),
    {
      series,
      x: { label: "samples in the batch", scale: "log", domain: [1, 4096] },
      y: { label: "cosine with the exact gradient", domain: [-0.25, 1] },
      references: [{ y: 1, text: "" }],
      cursor: batch,
    },
    theme,
  );
  curves.forEach(({ mean, spread }, i) => {
    const points: number[] = [];
    BATCHES.forEach((size, k) => {
      const [value, half] = [mean[k]!, spread[k]!];
      const x = layout.x.toPixel(size) + 3 * (i - (curves.length - 1) / 2);
      if (half > 0) points.push(x, layout.y.toPixel(Math.max(-0.25, value - half)), x, layout.y.toPixel(Math.min(1, value + half)), NaN, NaN);
    });
    pen.path(points, { stroke: series[i]!.colour, width: 1, alpha: 0.7 });
  });
}
