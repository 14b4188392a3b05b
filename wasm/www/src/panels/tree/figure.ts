import type { Pen, Theme } from "../../charts";
import { percent } from "../../ui/format";
import { branchesOf, depthOf } from "./layout";

/** Height of a row in a figure of this width, in pixels. */
export const rowHeight = (width: number): number => (width < 560 ? 25 : 34);
/** Room for the text of an answer, and for a number. */
const LABEL = 54;
const NUMBER = 38;

/** What the picture of a tree shows. */
export interface TreePicture {
  readonly symbols: number;
  /** Answers from top to bottom, see `rowsOf`. */
  readonly rows: readonly number[];
  readonly names: readonly string[];
  readonly modes: ArrayLike<number>;
  readonly flow: ArrayLike<number>;
  readonly probabilities: ArrayLike<number>;
  /** The exact fixed point, as outlines. */
  readonly exact: ArrayLike<number> | undefined;
  readonly chosen: number;
  readonly colour: string;
}

/** Draws a tree from left to right, with a bar for every answer at its right end. */
export function drawTree(pen: Pen, theme: Theme, picture: TreePicture): void {
  const { symbols, rows, names, flow, probabilities, exact, chosen, colour } = picture;
  const height = rowHeight(pen.width);
  /** Pixels of a branch through which everything flows. */
  const full = 1.5 * height;
  const bar = Math.min(360, 0.27 * pen.width);
  const right = pen.width - bar - NUMBER - LABEL;
  const column = (right - 6) / (depthOf(rows.length - 1, symbols) + 0.7);
  const x = (node: number) => 6 + column * depthOf(node, symbols);
  const y = (node: number) => (rows.indexOf(node) + 0.5) * height;
  const onPath = (node: number): boolean => {
    let at = chosen;
    while (at > node) at = Math.floor((at - 1) / symbols);
    return at === node;
  };

  pen.rect({ x: 0, y: y(chosen) - height / 2, width: pen.width, height }, { fill: theme.accent, alpha: 0.12 }, 4);
  for (const { from, to, width, start } of branchesOf(flow, probabilities, symbols)) {
    const half = Math.max(0.4, (width * full) / 2);
    const ends = to === from;
    const [x0, x1] = [x(from), ends ? Math.min(right, x(from) + 0.7 * column) : x(to)];
    const [y0, y1] = [y(from) + start * full, y(to)];
    const upper: number[] = [];
    const lower: number[] = [];
    for (let i = 0; i <= 16; i++) {
      const t = i / 16;
      const [px, py] = [x0 + t * (x1 - x0), y0 + t * t * (3 - 2 * t) * (y1 - y0)];
      upper.push(px, py - half);
      lower.unshift(px, py + half);
    }
    if (ends) {
      upper.push(right, y1 - half);
      lower.unshift(right, y1 + half);
    }
    const lit = ends ? to === chosen : onPath(to);
    pen.path([...upper, ...lower], { fill: ends ? colour : theme.muted, alpha: lit ? 0.85 : ends ? 0.4 : 0.3 }, true);
  }
  for (const node of rows) {
    const tall = Math.max(6, (flow[node] ?? 0) * full);
    pen.rect({ x: x(node) - 2, y: y(node) - tall / 2, width: 4, height: tall }, { fill: theme.ink }, 2);
    const style = { fill: theme.ink, size: 12, baseline: "middle", halo: theme.card } as const;
    if (node > 0) pen.text(x(node) - 6, y(node), names[node]?.slice(-1) ?? "", { ...style, anchor: "end" });
    drawAnswer(node);
  }

  function drawAnswer(node: number): void {
    const mode = Array.from(picture.modes).includes(node);
    const style = { fill: theme.ink, size: 13, baseline: "middle", weight: mode ? 700 : 400 } as const;
    pen.text(right + 6, y(node), `${names[node]}${mode ? " ★" : ""}`, style);
    const p = probabilities[node] ?? 0;
    const box = { x: right + LABEL, y: y(node) - 7, width: bar * p, height: 14 };
    pen.rect(box, { fill: colour, alpha: 0.8 }, 2);
    const goal = exact ? bar * (exact[node] ?? 0) : 0;
    if (goal >= 1) pen.rect({ ...box, y: box.y - 2.5, height: 19, width: goal }, { stroke: theme.ink, width: 1.5 }, 2);
    pen.text(box.x + Math.max(box.width, goal) + 5, y(node), percent(p), { fill: theme.muted, size: 11, baseline: "middle" });
  }
}
