// Round numbers for axes, and how they are written.

/** Language of the numbers in charts: fixed, so that an export is the same wherever it is made. */
const LOCALE = "en-GB";

const formats = new Map<string, Intl.NumberFormat>();

/** A number as these options write it, with a real minus sign. */
export function format(value: number, options: Intl.NumberFormatOptions): string {
  const key = JSON.stringify(options);
  let format = formats.get(key);
  if (!format) formats.set(key, (format = new Intl.NumberFormat(LOCALE, options)));
  return format.format(value === 0 ? 0 : value).replace("-", "−");
}

/** The 1, 2 or 5 times a power of ten that cuts `span` into about `count` parts, never many more. */
export function roundStep(span: number, count: number): number {
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const lead = rough / power;
  return (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10) * power;
}

/** A multiple of a step without the dust of binary fractions. */
function multiple(i: number, step: number): number {
  return Number((i * step).toPrecision(12));
}

/** Round values inside [min, max], at most about `count` of them. */
export function linearTicks(min: number, max: number, count: number): number[] {
  if (!(max > min) || !Number.isFinite(max - min)) return Number.isFinite(min) ? [min] : [];
  const step = roundStep(max - min, count);
  const ticks: number[] = [];
  // A hair of slack: an end that is a multiple of the step but for rounding is still a tick.
  const [from, to] = [Math.ceil(min / step - 1e-9), Math.floor(max / step + 1e-9)];
  for (let i = from; i <= to; i++) ticks.push(Math.min(max, Math.max(min, multiple(i, step))));
  return ticks;
}

/** Powers of ten inside [min, max], thinned to about `count`; 2 and 5 times them where there is room for
 * those. */
export function logTicks(min: number, max: number, count: number): number[] {
  if (!(min > 0) || !(max > min) || !Number.isFinite(max)) return [];
  const low = Math.ceil(Math.log10(min) - 1e-9);
  const high = Math.floor(Math.log10(max) + 1e-9);
  const decades = high - low + 1;
  const inside = (v: number) => v >= min * (1 - 1e-9) && v <= max * (1 + 1e-9);
  const between = (leads: readonly number[]) => {
    const ticks: number[] = [];
    for (let e = low - 1; e <= high; e++) for (const lead of leads) ticks.push(Number(`${lead}e${e}`));
    return ticks.filter(inside);
  };
  if (decades < 2) {
    const fine = between([1, 2, 5]);
    return fine.length > 1 ? fine.slice(0, Math.max(2, count)) : linearTicks(min, max, count);
  }
  if (3 * decades <= count) return between([1, 2, 5]);
  const every = Math.ceil(decades / Math.max(2, count));
  return between([1]).filter((v) => Math.round(Math.log10(v)) % every === 0);
}

const SUPERSCRIPTS = "⁰¹²³⁴⁵⁶⁷⁸⁹";

/** A power of ten with its factor, such as 2·10⁻⁵ or 10⁶. */
function scientific(value: number): string {
  const [lead = "0", power = "0"] = value.toExponential(2).split("e");
  const raised = String(Math.abs(Number(power))).replace(/\d/g, (d) => SUPERSCRIPTS[Number(d)]!);
  const factor = format(Number(lead), { maximumFractionDigits: 2 });
  const ten = `10${Number(power) < 0 ? "⁻" : ""}${raised}`;
  return factor === "1" ? ten : factor === "−1" ? `−${ten}` : `${factor}·${ten}`;
}

/** How a value on an axis is written: with the digits its step needs; beside values from 10,000 on,
 * thousands as k and from a million on, millions as M. */
export function formatTick(value: number, step = Math.abs(value), largest = Math.abs(value)): string {
  if (value === 0) return "0";
  if (largest >= 1e9 || step < 1e-4) return scientific(value);
  const unit = largest >= 1e6 ? 1e6 : largest >= 1e4 ? 1e3 : 1;
  const digits = Math.max(0, -Math.floor(Math.log10(step / unit) + 1e-9));
  const text = format(value / unit, { maximumFractionDigits: Math.min(digits, 10) });
  return text + (unit === 1e6 ? "M" : unit === 1e3 ? "k" : "");
}

/** A value in a sentence or beside a line: three significant digits. */
export function formatNumber(value: number, digits = 3): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return scientific(value);
  return format(value, { maximumSignificantDigits: Math.max(digits, Math.ceil(Math.log10(size + 1))) });
}
