import { byId } from "./dom";

/** What index.html keeps under this name for scripts, so that none of them has to carry it. */
function find(name: string): Element {
  const found = byId<HTMLTemplateElement>("texts").content.querySelector(`[data-text="${name}"]`);
  if (!found) throw new Error(`index.html has no text ${name}`);
  return found;
}

/** A text of index.html. */
export const text = (name: string): string => (find(name).textContent ?? "").replace(/\s+/g, " ").trim();

/** MathML of a formula of math.ts, on a line of its own. */
export const formula = (name: string): Node => find(name).firstElementChild!.cloneNode(true);

/** A copy of the table of metrics in index.html: a list of options, of which each has a name as its value and a label as its text. */
export const metricTable = (): Element => find("metrics").cloneNode(true) as Element;

/** A metric of that table; its title says what it means. */
export const metricRow = (name: string): HTMLOptionElement => find("metrics").querySelector(`[value="${name}"]`)!;

/** The vertical axis of a metric of that table. */
export function metricAxis(name: string) {
  const { text: label, dataset } = metricRow(name);
  return "log" in dataset ? { label, scale: "log" as const, floor: 1e-4 } : { label };
}
