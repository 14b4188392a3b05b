import type { LaneKind } from "flowrl_wasm";
import { LANES, LANE_KINDS } from "../lanes";
import type { PanelContext } from "../panels/panel";
import { BOUNDS, DEFAULTS, MOST_LANES, type Settings } from "../state";
import { button, field, h } from "../ui/dom";
import { text } from "../ui/texts";

/** Which methods race, and the numbers behind them. */
export function mountAdvanced({ settings, announce }: PanelContext): HTMLElement {
  const boxes = new Map<LaneKind, HTMLInputElement>();
  const full = h("p", { class: "note", role: "status" });
  const choose = (kind: LaneKind, on: boolean) => {
    const { lanes } = settings.get();
    const next = LANE_KINDS.filter((k) => (k === kind ? on : lanes.includes(k)));
    if (next.length < 1 || next.length > MOST_LANES) {
      full.textContent = next.length < 1 ? "A race needs a method." : `At most ${MOST_LANES} methods race at once: take one out first.`;
      boxes.get(kind)!.checked = !on;
      return;
    }
    full.textContent = "";
    const { solo } = settings.get();
    settings.patch({ lanes: next, solo: solo && next.includes(solo) ? solo : null });
    announce(`${LANES[kind].name} ${on ? "joins" : "leaves"}; the race starts anew.`);
  };
  const methods = h(
    "fieldset",
    { class: "methods" },
    h("legend", {}, "Methods in the race"),
    ...LANE_KINDS.map((kind) => {
      const box = h("input", { type: "checkbox", onchange: () => choose(kind, box.checked) });
      boxes.set(kind, box);
      const { name, mark } = LANES[kind];
      return h("label", { class: "method" }, box, h("span", {}, h("b", {}, h("span", { class: "mark", "data-lane": kind, "aria-hidden": true }, mark), name), h("span", { class: "note" }, text(`lane-${kind}`))));
    }),
    full,
  );
  type Key = "samples" | "learningRate" | "logZLearningRate" | "seed";
  const inputs: (readonly [Key, HTMLInputElement])[] = [];
  const number = (key: Key, label: string, step: string) => {
    const [min, max] = BOUNDS[key];
    const input = h("input", {
      type: "number",
      min,
      max,
      step,
      onchange: () => {
        const value = input.valueAsNumber;
        const valid = Number.isFinite(value) && value >= min && value <= max;
        if (valid) settings.patch({ [key]: key === "samples" || key === "seed" ? Math.round(value) : value } as Partial<Settings>);
        else announce(`${label} must be between ${min} and ${max}.`);
        input.value = String(settings.get()[key]);
      },
    });
    inputs.push([key, input]);
    return field(label, input);
  };
  const numbers = h(
    "div",
    { class: "controls" },
    number("samples", "Answers in a batch", "1"),
    number("learningRate", "Learning rate", "any"),
    number("logZLearningRate", "Learning rate of log Z", "any"),
    number("seed", "Seed", "1"),
    button("All defaults", () => {
      const { beta, preset, drawing } = settings.get();
      settings.set({ ...DEFAULTS, beta, preset, drawing });
    }),
  );
  settings.subscribe((now) => {
    for (const [kind, box] of boxes) box.checked = now.lanes.includes(kind);
    for (const [key, input] of inputs) input.value = String(now[key]);
  }, true);
  return h("details", { class: "card advanced", "data-part": "advanced" }, h("summary", {}, "Methods and settings"), methods, numbers);
}
