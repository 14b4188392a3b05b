import { byId } from "./dom";

/** MathML of a formula of math.ts, on a line of its own; index.html holds it, so that no script has to carry it. */
export function formula(name: string): string {
  const found = byId<HTMLTemplateElement>("formulae").content.querySelector(`[data-formula="${name}"]`);
  if (!found) throw new Error(`index.html has no formula ${name}: is it in math.ts?`);
  return found.innerHTML;
}
