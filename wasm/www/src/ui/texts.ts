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
