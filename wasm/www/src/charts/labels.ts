import { type Box, type Pen, TEXT_SIZE, type TextStyle, baselineShift } from "./pen";

/** Text that never overlaps: `put` draws a text only where it stays inside the bounds and clear of all
 * before it. */
export interface Labels {
  put(x: number, y: number, text: string, style: TextStyle): boolean;
  /** Keeps text away from a place. */
  reserve(box: Box): void;
}

/** The rectangle that a text fills. */
export function textBox(pen: Pen, x: number, y: number, text: string, style: TextStyle): Box {
  const width = pen.measure(text, style);
  const size = style.size ?? TEXT_SIZE;
  const left = { start: 0, middle: -width / 2, end: -width }[style.anchor ?? "start"];
  return { x: x + left, y: y + baselineShift(style) - 0.8 * size, width, height: 1.04 * size };
}

/** Whether two rectangles share more than a rim. */
export function overlaps(a: Box, b: Box, gap = 0): boolean {
  return (
    a.x < b.x + b.width + gap && b.x < a.x + a.width + gap && a.y < b.y + b.height && b.y < a.y + a.height
  );
}

/** Starts with no text inside `bounds`. */
export function makeLabels(pen: Pen, bounds: Box): Labels {
  const taken: Box[] = [];
  return {
    put(x, y, text, style) {
      const box = textBox(pen, x, y, text, style);
      const inside =
        box.x >= bounds.x - 0.5 &&
        box.y >= bounds.y - 0.5 &&
        box.x + box.width <= bounds.x + bounds.width + 0.5 &&
        box.y + box.height <= bounds.y + bounds.height + 0.5;
      if (!inside || text === "" || taken.some((other) => overlaps(box, other, 3))) return false;
      taken.push(box);
      pen.text(x, y, text, style);
      return true;
    },
    reserve: (box) => void taken.push(box),
  };
}

/** A text cut with an ellipsis so that it fits; "" if not even one letter does. */
export function fitText(pen: Pen, text: string, style: TextStyle, width: number): string {
  if (pen.measure(text, style) <= width) return text;
  const letters = [...text];
  for (let n = letters.length - 1; n > 0; n--) {
    const cut = letters.slice(0, n).join("").trimEnd() + "…";
    if (pen.measure(cut, style) <= width) return cut;
  }
  return "";
}
