import type { LaneKind } from "flowrl_wasm";
import { LANES, LANE_KINDS } from "../lanes";
import type { PanelContext } from "../panels/panel";
import { DEFAULTS, MOST_LANES, type Settings } from "../state";
import { byId, h, laneMark } from "../ui/dom";
import { text } from "../ui/texts";

/** Which methods race, and the numbers behind them. */
export function mountAdvanced({ settings, announce }: PanelContext): void {
  const full = byId("methods-full");
  const choose = (kind: LaneKind, box: HTMLInputElement) => {
    const { lanes, solo } = settings.get();
    const next = LANE_KINDS.filter((k) => (k === kind ? box.checked : lanes.includes(k)));
    full.textContent = "";
    if (next.length < 1 || next.length > MOST_LANES) {
      full.textContent = next.length < 1 ? "A race needs a method." : `At most ${MOST_LANES} methods race at once: take one out first.`;
      box.checked = !box.checked;
      return;
    }
    settings.patch({ lanes: next, solo: solo && next.includes(solo) ? solo : null });
    announce(`${LANES[kind].name} ${box.checked ? "joins" : "leaves"}; the race starts anew.`);
  };
  const boxes = LANE_KINDS.map((kind) => {
    const box = h("input", { type: "checkbox", autocomplete: "off", onchange: () => choose(kind, box) });
    const about = h("span", { class: "note" }, text(`lane-${kind}`));
    full.before(h("label", { class: "method" }, box, h("span", {}, h("b", {}, laneMark(kind), LANES[kind].name), about)));
    return box;
  });
  const inputs = byId("numbers").querySelectorAll("input");
  byId("numbers").onchange = ({ target }) => {
    const { id, validity, valueAsNumber: value, min, max, labels } = target as HTMLInputElement;
    if (Number.isFinite(value) && !validity.rangeUnderflow && !validity.rangeOverflow) {
      settings.patch({ [id]: id === "samples" || id === "seed" ? Math.round(value) : value });
    } else announce(`${labels![0]!.textContent} must be between ${min} and ${max}.`);
    show(settings.get());
  };
  byId("defaults").onclick = () => {
    const { beta, preset, drawing } = settings.get();
    settings.set({ ...DEFAULTS, beta, preset, drawing });
  };
  const show = (now: Settings) => {
    boxes.forEach((box, i) => (box.checked = now.lanes.includes(LANE_KINDS[i]!)));
    for (const input of inputs) input.value = String(now[input.id as keyof Settings]);
  };
  settings.subscribe(show, true);
}
