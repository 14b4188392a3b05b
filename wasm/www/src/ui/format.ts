import { format } from "../charts/numbers";

/** A number with so many decimals; ∞ and – where there is none. */
export function decimals(value: number, digits: number): string {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const rounded = Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value;
  return format(rounded, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

/** A number with so many significant digits. */
export function significant(value: number, digits: number): string {
  if (!Number.isFinite(value)) return decimals(value, 0);
  return format(value, { maximumSignificantDigits: digits });
}

/** A distance: three decimals, and two significant digits where it is small. */
export const distance = (value: number): string => (Math.abs(value) < 0.01 ? significant(value, 2) : decimals(value, 3));

/** A whole number, grouped. */
export const whole = (value: number): string => decimals(Math.round(value), 0);

/** A probability in percent. */
export const percent = (value: number, digits = 0): string => `${decimals(100 * value, digits)} %`;
