import { readFileSync } from "node:fs";
import { type Box, type Pen, type TextStyle, svgPen, themeFrom } from "../../src/charts";
import { overlaps, textBox } from "../../src/charts/labels";

const tokens = readFileSync(new URL("../../src/styles/tokens.css", import.meta.url), "utf8");

/** The values of the page's CSS custom properties, light and dark. */
export const PROPERTIES = tokens
  .split("}")
  .slice(0, 2)
  .map((block) => new Map([...block.matchAll(/(--[\w-]+): (.*);/g)].map(([, name, value]) => [name!, value!])));

/** Both themes of the page. */
export const THEMES = PROPERTIES.map((set) => themeFrom((name) => set.get(name) ?? ""));

/** Fails the test. For loops of thousands of checks, where `expect` would take its time for each. */
export function must(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** Numbers in [0, 1) that are the same in every run (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A text that a chart drew. */
export interface Drawn {
  text: string;
  box: Box;
  style: TextStyle;
}

/** An SVG pen that also keeps what is drawn. */
export function spyPen(width: number, height: number) {
  const texts: Drawn[] = [];
  const paths: { points: number[]; stroke: string | undefined }[] = [];
  const inner = svgPen(width, height, "A chart", "What it shows");
  const pen: Pen = {
    ...inner,
    text(x, y, text, style) {
      texts.push({ text, style, box: textBox(inner, x, y, text, style) });
      inner.text(x, y, text, style);
    },
    path(points, paint, close) {
      paths.push({
        points: Array.from(points),
        stroke: paint.stroke,
      });
      inner.path(points, paint, close);
    },
  };
  return { pen, texts, paths, svg: () => inner.svg() };
}

/** The pairs of texts that overlap, and the texts that leave the drawing: both should be empty. */
export function textFaults(texts: readonly Drawn[], width: number, height: number): string[] {
  const faults: string[] = [];
  texts.forEach((a, i) => {
    const { x, y, width: w, height: h } = a.box;
    if (x < -1 || y < -1 || x + w > width + 1 || y + h > height + 1)
      faults.push(`"${a.text}" leaves the drawing`);
    for (const b of texts.slice(i + 1)) if (overlaps(a.box, b.box)) faults.push(`"${a.text}" on "${b.text}"`);
  });
  return faults;
}

/** What keeps a text from being well-formed XML, or undefined. Knows elements, attributes, text and
 * references. */
export function xmlFault(xml: string): string | undefined {
  const open: string[] = [];
  let rest = xml;
  let roots = 0;
  const entities = /^(?:[^<&]|&(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-f]+);)*$/;
  while (rest) {
    const text = /^[^<]+/.exec(rest)?.[0];
    if (text !== undefined) {
      if (!entities.test(text)) return `bare & in "${text.slice(0, 40)}"`;
      if (open.length === 0 && text.trim()) return "text outside the root";
      rest = rest.slice(text.length);
      continue;
    }
    const tag = /^<(\/?)([A-Za-z][\w-]*)((?:\s+[A-Za-z_][\w:-]*="[^"<]*")*)\s*(\/?)>/.exec(rest);
    if (!tag) return `no tag at "${rest.slice(0, 60)}"`;
    const [whole, end, name, attributes, empty] = tag as unknown as [string, string, string, string, string];
    const names = [...attributes.matchAll(/([\w:-]+)="([^"]*)"/g)];
    if (new Set(names.map((n) => n[1])).size !== names.length) return `<${name}> has an attribute twice`;
    if (names.some((n) => !entities.test(n[2]!))) return `<${name}> has a bare &`;
    if (/NaN|Infinity|undefined/.test(attributes)) return `<${name}${attributes}> is no number`;
    if (end) {
      if (open.pop() !== name) return `</${name}> closes something else`;
    } else {
      if (open.length === 0) roots++;
      if (!empty) open.push(name);
    }
    rest = rest.slice(whole.length);
  }
  if (open.length > 0) return `<${open.at(-1)}> is never closed`;
  return roots === 1 ? undefined : `${roots} roots`;
}
