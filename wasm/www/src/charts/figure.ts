import { canvasPen } from "./canvas-pen";
import type { Pen } from "./pen";
import { svgPen } from "./svg-pen";
import { type Theme, readTheme, watchTheme } from "./theme";

/** What a pointer does over a figure, in CSS pixels from the top left of the drawing. */
export interface FigurePointer {
  readonly type: "down" | "move" | "up" | "leave";
  readonly x: number;
  readonly y: number;
  /** A button is held or a finger is down. */
  readonly pressed: boolean;
  readonly event: PointerEvent;
}

/** How a figure is made. */
export interface FigureOptions {
  /** Its accessible name. */
  readonly label: string;
  /** Draws the chart; called whenever it is out of date, and for exports. */
  readonly draw: (pen: Pen, theme: Theme) => void;
  /** Height in CSS pixels, or as a function of the width. */
  readonly height: number | ((width: number) => number);
  readonly onPointer?: (pointer: FigurePointer) => void;
  /** A key pressed on the figure, which it makes focusable. Returns true if it meant something. */
  readonly onKey?: (event: KeyboardEvent) => boolean;
  /** "img" by default; "application" for a figure one works in with the keyboard. */
  readonly role?: "img" | "application";
  /** A finger draws on the figure instead of scrolling the page. */
  readonly captureTouch?: boolean;
}

/** A canvas with a name, a description, and its exports. */
export interface Figure {
  readonly element: HTMLElement;
  readonly canvas: HTMLCanvasElement;
  /** Draws in the next animation frame; many calls draw once. */
  invalidate(): void;
  setLabel(label: string): void;
  /** What the figure shows now, for those who do not see it. Not a live region: announce changes elsewhere. */
  setSummary(text: string): void;
  toSvg(): string;
  toPng(): Promise<Blob>;
  /** Stops drawing and listening, and removes the figure. */
  destroy(): void;
}

/** Pixels of an exported picture to one of CSS. */
const RATIO = 2;

let made = 0;

/** Makes a figure; put its `element` into the page. */
export function createFigure(options: FigureOptions): Figure {
  const element = document.createElement("figure");
  const canvas = document.createElement("canvas");
  const summary = document.createElement("p");
  element.className = "chart";
  summary.className = "visually-hidden";
  summary.id = `chart-summary-${++made}`;
  canvas.setAttribute("role", options.role ?? "img");
  canvas.setAttribute("aria-label", options.label);
  canvas.setAttribute("aria-describedby", summary.id);
  Object.assign(canvas.style, { display: "block", width: "100%" });
  element.append(canvas, summary);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("createFigure: the browser gave no 2D context; wanted one for a chart");

  const heightFor = (width: number) =>
    typeof options.height === "number" ? options.height : options.height(width);
  const colours = () => (theme ??= readTheme(element));
  let theme: Theme | undefined;
  let width = 0;
  let frame = 0;
  let alive = true;

  const draw = () => {
    frame = 0;
    if (!alive || width <= 0) return;
    const height = Math.max(1, Math.round(heightFor(width)));
    const ratio = window.devicePixelRatio || 1;
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    // Setting the size of a canvas empties it and costs time, so only where it changes.
    if (canvas.width !== w) canvas.width = w;
    if (canvas.height !== h) canvas.height = h;
    canvas.style.height = `${height}px`;
    options.draw(canvasPen(context, { width, height, ratio }), colours());
  };
  const invalidate = () => {
    if (alive && frame === 0) frame = requestAnimationFrame(draw);
  };

  const resized = new ResizeObserver(([entry]) => {
    const next = entry?.contentRect.width ?? 0;
    if (next === width) return;
    width = next;
    invalidate();
  });
  resized.observe(element);
  const unwatch = watchTheme(() => {
    theme = undefined;
    invalidate();
  });
  // Zooming changes how many pixels of the device a CSS pixel has.
  window.addEventListener("resize", invalidate);
  listen(canvas, options);

  /** The size of an export: that on the page, or a usual one before the figure has been laid out. */
  const size = () => {
    const w = Math.max(1, Math.round(width || 640));
    return { w, h: Math.max(1, Math.round(heightFor(w))) };
  };
  const drawExport = (pen: Pen) => {
    pen.rect({ x: 0, y: 0, width: pen.width, height: pen.height }, { fill: colours().card });
    options.draw(pen, colours());
  };

  return {
    element,
    canvas,
    invalidate,
    setLabel: (label) => canvas.setAttribute("aria-label", label),
    setSummary(text) {
      if (summary.textContent !== text) summary.textContent = text;
    },
    toSvg() {
      const { w, h } = size();
      const pen = svgPen(w, h, canvas.getAttribute("aria-label") ?? options.label, summary.textContent ?? "");
      drawExport(pen);
      return pen.svg();
    },
    toPng() {
      const { w, h } = size();
      return pngOf(w, h, drawExport);
    },
    destroy() {
      alive = false;
      cancelAnimationFrame(frame);
      resized.disconnect();
      unwatch();
      window.removeEventListener("resize", invalidate);
      element.remove();
    },
  };
}

/** A drawing of this size in CSS pixels as a picture. */
export async function pngOf(width: number, height: number, draw: (pen: Pen) => void): Promise<Blob> {
  const sheet = new OffscreenCanvas(RATIO * width, RATIO * height);
  const context = sheet.getContext("2d");
  if (!context) throw new Error("pngOf: the browser gave no 2D context; wanted one for the picture");
  draw(canvasPen(context, { width, height, ratio: RATIO }));
  return sheet.convertToBlob({ type: "image/png" });
}

/** Passes pointers and keys on. The listeners go with the canvas. */
function listen(canvas: HTMLCanvasElement, { onPointer, onKey, captureTouch }: FigureOptions): void {
  if (onKey) {
    canvas.tabIndex = 0;
    canvas.addEventListener("keydown", (event) => {
      if (onKey(event)) event.preventDefault();
    });
  }
  if (!onPointer) return;
  canvas.style.touchAction = captureTouch ? "none" : "pan-y";
  const pass = (type: FigurePointer["type"]) => (event: PointerEvent) => {
    const box = canvas.getBoundingClientRect();
    const pressed = type === "down" || (type === "move" && event.buttons !== 0);
    if (type === "down" && captureTouch) canvas.setPointerCapture(event.pointerId);
    onPointer({ type, x: event.clientX - box.left, y: event.clientY - box.top, pressed, event });
  };
  canvas.addEventListener("pointerdown", pass("down"));
  canvas.addEventListener("pointermove", pass("move"));
  canvas.addEventListener("pointerup", pass("up"));
  canvas.addEventListener("pointercancel", pass("leave"));
  canvas.addEventListener("pointerleave", pass("leave"));
}
