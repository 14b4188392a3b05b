import { type ColourMap, tableIndex } from "./colour";
import { shade } from "./heat";
import { makeLabels } from "./labels";
import { formatNumber } from "./numbers";
import type { Box, Pen, TextStyle } from "./pen";
import type { Theme } from "./theme";

/** What the colours of a heat map mean. */
export interface LegendBar {
  /** The value with the strongest colour. */
  readonly max: number;
  readonly gamma?: number;
  readonly map?: ColourMap;
  readonly difference?: boolean;
  /** What the values are. */
  readonly label?: string;
}

const SIZE = 11;
const BAR = 8;

/** How high a legend bar is: a bar, numbers, and a label above if there is one. */
export function legendHeight(data: LegendBar): number {
  return BAR + SIZE + 6 + (data.label ? SIZE + 6 : 0);
}

/** Draws a bar of the colours with the values of its ends and its middle. */
export function legendBar(pen: Pen, box: Box, data: LegendBar, theme: Theme): void {
  const { max, gamma = 0.5, difference = false } = data;
  const map = difference ? theme.difference : (data.map ?? theme.probability);
  const labels = makeLabels(pen, box);
  const style: TextStyle = { fill: theme.muted, size: SIZE };
  let top = box.y;
  if (data.label) {
    labels.put(box.x, top, data.label, { ...style, baseline: "top" });
    top += SIZE + 6;
  }
  const steps = 64;
  const rgba = new Uint8ClampedArray(4 * steps);
  for (let i = 0; i < steps; i++) {
    const from = 4 * tableIndex(i / (steps - 1));
    rgba.set(map.subarray(from, from + 4), 4 * i);
  }
  const bar = { x: box.x, y: top, width: box.width, height: BAR };
  pen.cells(bar, steps, rgba);
  pen.rect(bar, { stroke: theme.line });
  // The bar runs evenly over the colours, so the middle of a curved scale stands where its colour is.
  const values = difference ? [-max, max, 0] : [0, max, max / 4];
  for (const value of values) {
    const t = shade(value, max, gamma, difference);
    const anchor = t <= 0 ? "start" : t >= 1 ? "end" : "middle";
    labels.put(box.x + t * box.width, top + BAR + 4, formatNumber(value, 2), {
      ...style,
      anchor,
      baseline: "top",
    });
  }
}
