// Colours as numbers: reading them, mixing them in OKLab, and how well two of them can be told apart.

/** Red, green and blue, each 0…255. */
export type Rgb = readonly [number, number, number];

/** A table of 256 RGBA colours: what `colourAt` and the heat maps look values up in. */
export type ColourMap = Uint8ClampedArray;

const LAST = 255;

/** Reads `#rgb` and `#rrggbb`; undefined for anything else. */
export function parseColour(text: string): Rgb | undefined {
  const digits = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text.trim())?.[1];
  if (digits === undefined) return undefined;
  const value = parseInt(digits.length === 3 ? digits.replace(/./g, "$&$&") : digits, 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** `#rrggbb`. */
export function hex([r, g, b]: Rgb): string {
  return "#" + [r, g, b].map((c) => Math.round(c).toString(16).padStart(2, "0")).join("");
}

const toLinear = (c: number) => (c <= 10.31475 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4);
const fromLinear = (c: number) =>
  255 * Math.min(1, Math.max(0, c <= 0.0031308 ? 12.92 * c : 1.055 * c ** (1 / 2.4) - 0.055));

/** OKLab: lightness 0…1, green–red, blue–yellow. */
export function toLab(rgb: Rgb): [number, number, number] {
  const [r, g, b] = [toLinear(rgb[0]), toLinear(rgb[1]), toLinear(rgb[2])];
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b);
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b);
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b);
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ];
}

/** The inverse of `toLab`, cut to what a screen can show. */
export function fromLab([light, a, b]: readonly [number, number, number]): Rgb {
  const l = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3;
  const m = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3;
  const s = (light - 0.0894841775 * a - 1.291485548 * b) ** 3;
  return [
    fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ];
}

/** The contrast ratio of WCAG, 1…21. */
export function contrast(a: Rgb, b: Rgb): number {
  const luminance = ([r, g, bl]: Rgb) => 0.2126 * toLinear(r) + 0.7152 * toLinear(g) + 0.0722 * toLinear(bl);
  const [x, y] = [luminance(a), luminance(b)];
  return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
}

/** A table through `stops`, each placed where its lightness belongs, so that lightness grows (or falls)
 * evenly. */
export function sequentialMap(stops: readonly Rgb[]): ColourMap {
  const labs = stops.map(toLab);
  const first = labs[0]![0];
  const span = labs[labs.length - 1]![0] - first;
  const table = new Uint8ClampedArray(4 * (LAST + 1));
  for (let i = 0, k = 0; i <= LAST; i++) {
    const light = first + (span * i) / LAST;
    while (k < labs.length - 2 && Math.abs(labs[k + 1]![0] - first) < Math.abs(light - first)) k++;
    const [from, to] = [labs[k]!, labs[k + 1]!];
    const t = (light - from[0]) / (to[0] - from[0]);
    table.set(fromLab([light, from[1] + t * (to[1] - from[1]), from[2] + t * (to[2] - from[2])]), 4 * i);
    table[4 * i + 3] = 255;
  }
  return table;
}

/** A table from `low` through the middle to `high`: each half is a sequential map that starts in the
 * middle. */
export function divergingMap(low: readonly Rgb[], middle: Rgb, high: readonly Rgb[]): ColourMap {
  const [down, up] = [sequentialMap([middle, ...low]), sequentialMap([middle, ...high])];
  const table = new Uint8ClampedArray(4 * (LAST + 1));
  for (let i = 0; i <= LAST; i++) {
    const at = 2 * i - LAST;
    const from = 4 * Math.abs(at);
    table.set((at < 0 ? down : up).subarray(from, from + 4), 4 * i);
  }
  return table;
}

/** Where 0 ≤ t ≤ 1 lies in a table. What is not a number counts as 0. */
export function tableIndex(t: number): number {
  return t > 0 ? Math.round(LAST * Math.min(1, t)) : 0;
}

/** The colour of 0 ≤ t ≤ 1 as `#rrggbb`. */
export function colourAt(map: ColourMap, t: number): string {
  const i = 4 * tableIndex(t);
  return hex([map[i]!, map[i + 1]!, map[i + 2]!]);
}
