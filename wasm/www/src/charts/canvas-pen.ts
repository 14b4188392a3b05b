import {
  type Box,
  FONT,
  type Paint,
  type Pen,
  TEXT_SIZE,
  type TextStyle,
  baselineShift,
} from "./pen";

type Context = CanvasRenderingContext2D | OffscreenCanvasRenderingContext2D;

/** The size of a drawing in CSS pixels, and how many pixels of the device one of them has. */
export interface CanvasSize {
  readonly width: number;
  readonly height: number;
  readonly ratio: number;
}

// Grids are written at one pixel a cell into this canvas and stretched from there: one upload instead of a
// rectangle for each cell. It only ever grows.
let scratch: OffscreenCanvas | undefined;

function scratchContext(columns: number, rows: number): OffscreenCanvasRenderingContext2D {
  scratch ??= new OffscreenCanvas(columns, rows);
  if (scratch.width < columns) scratch.width = columns;
  if (scratch.height < rows) scratch.height = rows;
  const context = scratch.getContext("2d", { willReadFrequently: true });
  if (!context)
    throw new Error("canvasPen: the browser gave no 2D context; wanted one to draw a grid of cells");
  return context;
}

/** A pen that draws on a canvas, which it clears first. */
export function canvasPen(context: Context, { width, height, ratio }: CanvasSize): Pen {
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.lineJoin = "round";
  context.lineCap = "butt";

  /** Fills and strokes the current path. */
  const finish = (paint: Paint) => {
    context.globalAlpha = paint.alpha ?? 1;
    if (paint.fill) {
      context.fillStyle = paint.fill;
      context.fill();
    }
    if (paint.stroke) {
      context.strokeStyle = paint.stroke;
      context.lineWidth = paint.width ?? 1;
      context.setLineDash(paint.dash ? [...paint.dash] : []);
      context.stroke();
    }
    context.globalAlpha = 1;
  };
  const setFont = (style: TextStyle) => {
    const font = `${style.weight ?? 400} ${style.size ?? TEXT_SIZE}px ${FONT}`;
    context.font = font;
  };

  return {
    width,
    height,
    path(p, paint, close = false) {
      context.beginPath();
      let down = false;
      for (let i = 0; i + 1 < p.length; i += 2) {
        const [x, y] = [p[i]!, p[i + 1]!];
        if (!Number.isFinite(x + y)) {
          if (close && down) context.closePath();
          down = false;
        } else if (down) context.lineTo(x, y);
        else {
          context.moveTo(x, y);
          down = true;
        }
      }
      if (close && down) context.closePath();
      finish(paint);
    },
    rect(box: Box, paint, radius = 0) {
      context.beginPath();
      if (radius > 0) context.roundRect(box.x, box.y, box.width, box.height, radius);
      else context.rect(box.x, box.y, box.width, box.height);
      finish(paint);
    },
    circles(p, radius, paint) {
      // One path for each: a circle alone is quicker to fill than a path of many.
      for (let i = 0; i + 1 < p.length; i += 2) {
        context.beginPath();
        context.arc(p[i]!, p[i + 1]!, radius, 0, 2 * Math.PI);
        finish(paint);
      }
    },
    text(x, y, text, style) {
      setFont(style);
      context.textAlign = ({ start: "left", middle: "center", end: "right" } as const)[
        style.anchor ?? "start"
      ];
      context.textBaseline = "alphabetic";
      if (style.halo) {
        context.strokeStyle = style.halo;
        context.lineWidth = 3;
        context.setLineDash([]);
        context.strokeText(text, x, y + baselineShift(style));
      }
      context.fillStyle = style.fill;
      context.fillText(text, x, y + baselineShift(style));
    },
    measure(text, style) {
      setFont(style);
      return context.measureText(text).width;
    },
    cells(box, columns, rgba) {
      const rows = rgba.length / (4 * columns);
      if (columns < 1 || rows < 1) return;
      const grid = scratchContext(columns, rows);
      const image = grid.createImageData(columns, rows);
      image.data.set(rgba);
      grid.putImageData(image, 0, 0);
      context.imageSmoothingEnabled = false;
      context.drawImage(grid.canvas, 0, 0, columns, rows, box.x, box.y, box.width, box.height);
    },
    clip(box, draw) {
      context.save();
      context.beginPath();
      context.rect(box.x, box.y, box.width, box.height);
      context.clip();
      try {
        draw();
      } finally {
        context.restore();
      }
    },
  };
}
