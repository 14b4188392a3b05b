// What a chart may draw with. A chart is a function of a pen, so the canvas on screen, the exported picture
// and the tests all run the same code.

/** A rectangle in CSS pixels. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** How a shape is filled and outlined; what is left out is not drawn. */
export interface Paint {
  readonly fill?: string;
  readonly stroke?: string;
  /** Width of the outline in pixels, 1 if left out. */
  readonly width?: number;
  readonly dash?: readonly number[];
  readonly alpha?: number;
}

/** How text is set; `halo` is a rim in that colour which keeps the text legible over lines. */
export interface TextStyle {
  readonly fill: string;
  readonly size?: number;
  readonly weight?: number;
  readonly anchor?: "start" | "middle" | "end";
  readonly baseline?: "top" | "middle" | "alphabetic" | "bottom";
  readonly halo?: string;
}

/** Points as `x0, y0, x1, y1, …`. A point that is not finite lifts the pen. */
export type Points = ArrayLike<number>;

/** The drawing calls that the canvas and the SVG writer share. */
export interface Pen {
  readonly width: number;
  readonly height: number;
  /** A line, or an area if it has a fill; `close` joins the last point of each piece to its first. */
  path(points: Points, paint: Paint, close?: boolean): void;
  rect(box: Box, paint: Paint, radius?: number): void;
  /** Circles of one radius around points. */
  circles(centres: Points, radius: number, paint: Paint): void;
  text(x: number, y: number, text: string, style: TextStyle): void;
  /** How wide a text will be. */
  measure(text: string, style: TextStyle): number;
  /** A grid of RGBA colours stretched over a box, row by row from the top. */
  cells(box: Box, columns: number, rgba: Uint8ClampedArray): void;
  /** Draws what `draw` draws, but only inside the box. */
  clip(box: Box, draw: () => void): void;
}

/** All that a pen draws on. */
export const whole = ({ width, height }: Pen): Box => ({ x: 0, y: 0, width, height });

/** The font of every chart: the one the visitor's system uses. */
export const FONT = "ui-sans-serif, system-ui, -apple-system, 'Segoe UI', sans-serif";

/** Size of text where a style names none. */
export const TEXT_SIZE = 12;

/** How far below `y` the letters stand, in pixels. Fixed shares of the size, the same in every back end. */
export function baselineShift(style: TextStyle): number {
  const share = { top: 0.8, middle: 0.36, alphabetic: 0, bottom: -0.22 }[style.baseline ?? "alphabetic"];
  return share * (style.size ?? TEXT_SIZE);
}

/** The width of a text without a browser to ask: a little generous for the usual sans-serif fonts. */
export function estimateWidth(text: string, style: TextStyle): number {
  let ems = 0;
  for (const letter of text) ems += letterWidth(letter);
  return ems * (style.size ?? TEXT_SIZE) * ((style.weight ?? 400) >= 600 ? 1.07 : 1);
}

function letterWidth(letter: string): number {
  if (/[ijl.,:;'|!·]/.test(letter)) return 0.3;
  if (/[ \-()[\]ftr⁰¹²³⁴-⁹⁻/]/.test(letter)) return 0.4;
  if (/[mwMW@%→∞]/.test(letter)) return 0.95;
  if (/[A-Z−+=<>×ΔΣ]/.test(letter)) return 0.7;
  return letter < "⺀" ? 0.6 : 1.05;
}
