import { Landscape, type LaneKind } from "flowrl_wasm";
import type { Update } from "../engine/protocol";
import { messageOf } from "../error";
import { LANES } from "../lanes";
import { SIDE } from "../state";
import { byId, fill, radios } from "../ui/dom";
import { whole } from "../ui/format";
import { text } from "../ui/texts";
import type { Mount } from "./panel";
import { laneCard } from "./update/lane";
import { STAGES, drawn, told } from "./update/words";

/** The update that the chapter opens at: by then the methods have parted, and none has arrived. */
const FIRST = 150;
/** Milliseconds of a step when the update plays by itself, and the moments of it at which another term may light up. */
const PACE = 5000;
const MOMENTS = 4;

/** One update of two lanes, taken apart in four steps. */
export const mount: Mount = (_, { engine, settings, landscape, announce }) => {
  let kinds: LaneKind[] = pair(settings.get().lanes);
  let updates: Update[] = [];
  let targets: [Float64Array, Float64Array] = [new Float64Array(), new Float64Array()];
  let stage = 0;
  let moment = 0;
  let picked = -1;
  /** Whether it was picked by hand, and is kept. */
  let byHand = false;
  /** The step to show as soon as the race gets there. */
  let wish: number | null = FIRST;
  let asked = 0;
  let timer = 0;
  let waiting = 0;

  const cards = [0, 1].map((slot) => laneCard(slot, pick));
  byId("update-pair").append(...cards.map(({ element }) => element));
  const chosen = ["update-left", "update-right"].map((id, slot) => {
    const list = byId<HTMLSelectElement>(id);
    list.onchange = () => {
      kinds[slot] = list.value as LaneKind;
      void load(at());
    };
    return list;
  });
  const choose = radios("update-stages", (value) => turn(Number(value)));
  const back = byId<HTMLButtonElement>("update-back");
  const play = byId("update-play");
  back.onclick = () => turn(stage - 1);
  byId("update-next").onclick = () => turn(stage + 1);
  play.onclick = () => (timer ? stop() : start());
  byId("update-following").onclick = advance;
  // Early updates get most of the slider: there is most to see.
  const slider = byId<HTMLInputElement>("update-at");
  slider.oninput = () => void load(Math.round(present() * (Number(slider.value) / 1000) ** 2));
  const failure = byId("update-failure");

  const at = () => updates[0]?.step ?? 0;
  const stageText = () => text(`step-${STAGES[stage]!.toLowerCase()}`);
  const present = () => engine.status.get().step;

  function pick(answer: number): void {
    picked = answer;
    byHand = true;
    show();
    const said = updates.map((update, i) => {
      const list = drawn(update);
      return `${LANES[kinds[i]!].name}: ${told(kinds[i]!, update, stage, list, list.find((d) => d.answer === picked))}`;
    });
    announce(said.join(" "));
  }

  function turn(to: number): void {
    if (to >= STAGES.length) return advance();
    stage = Math.max(0, to);
    moment = 0;
    choose(String(stage));
    show();
    announce(`${STAGES[stage]!}. ${stageText()}`);
  }

  /** The update that follows: one of the past, or a step of the race. */
  function advance(): void {
    stage = 0;
    choose("0");
    const to = at() + 1;
    if (to > present()) engine.step();
    void load(to);
    announce(`Update ${to + 1}`);
  }

  /** Gets the update of both lanes after the same step; the one wished for then no longer counts, unless it is kept. */
  async function load(step: number, keep = false): Promise<void> {
    const mine = ++asked;
    if (!keep) wish = null;
    const lanes = settings.get().lanes;
    kinds = kinds.map((kind, i) => (lanes.includes(kind) ? kind : pair(lanes)[i]!));
    try {
      const first = await engine.explain(kinds[0]!, step);
      const second = await engine.explain(kinds[1]!, first.step);
      if (mine !== asked) return;
      updates = [first, second];
      aim();
      failure.hidden = true;
      settle();
      show();
    } catch (error) {
      if (mine !== asked) return;
      // A race that was started again after a trap has lost its past.
      if (step < present()) return load(Infinity);
      failure.hidden = false;
      failure.textContent = `This update cannot be taken apart: ${messageOf(error)}`;
    }
  }

  /** Follows the best answer that both drew, unless one was picked by hand and is still there. */
  function settle(): void {
    const lists = updates.map((update) => drawn(update).map(({ answer }) => answer));
    if (byHand && lists.some((list) => list.includes(picked))) return;
    byHand = false;
    picked = lists[0]!.findLast((answer) => lists[1]!.includes(answer)) ?? lists[0]!.at(-1) ?? -1;
  }

  /** The target as β and the landscape are now, and that of a residual divided by the length. */
  function aim(): void {
    const { rewards, reference } = landscape.get();
    const { beta } = settings.get();
    const terrain = Landscape.of(SIDE, rewards, reference);
    const made = [terrain.target(beta), terrain.normalisedTarget(beta)] as const;
    targets = [made[0].probabilities(), made[1].probabilities()];
    for (const each of [...made, terrain]) each.free();
  }

  function show(): void {
    const [a, b] = updates;
    if (!a || !b) return;
    const lanes = settings.get().lanes;
    chosen.forEach((element, i) => {
      if (element.options.length !== lanes.length || lanes.some((kind, j) => element.options[j]?.value !== kind)) {
        fill(element, lanes.map((kind) => [kind, LANES[kind].name]));
      }
      element.value = kinds[i]!;
    });
    const most = Math.max(...updates.map(({ before, after }) => after.reduce((max, p, i) => Math.max(max, Math.abs(p - before[i]!)), 0)), 1e-9);
    const scene = { stage, picked, beta: settings.get().beta, peaks: landscape.get().peaks, most };
    cards.forEach((card, i) => card.show(kinds[i]!, updates[i]!, { ...scene, target: targets[kinds[i] === "normalised" ? 1 : 0] }));
    byId("update-stage").textContent = `${STAGES[stage]!}.`;
    byId("update-narration").textContent = stageText();
    back.disabled = stage === 0;
    const now = Math.max(1, present());
    if (document.activeElement !== slider) slider.value = String(Math.round(1000 * Math.sqrt(Math.min(1, a.step / now))));
    const place = `${whole(a.step)} of ${whole(Math.max(a.step, present()))}`;
    byId("update-at-value").textContent = place;
    slider.setAttribute("aria-valuetext", place);
  }

  function start(): void {
    timer = window.setInterval(() => {
      moment = (moment + 1) % MOMENTS;
      if (moment === 0) turn(stage + 1);
      else for (const card of cards) card.light(moment / MOMENTS);
    }, PACE / MOMENTS);
    play.textContent = "Stop";
    play.setAttribute("aria-pressed", "true");
  }

  function stop(): void {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play slowly";
    play.setAttribute("aria-pressed", "false");
  }

  /** Takes the same update anew, a little after the last of several changes. */
  function later(): void {
    clearTimeout(waiting);
    waiting = window.setTimeout(() => void load(Math.min(at(), present()), true), 150);
  }

  settings.subscribe((now, before) => {
    if (now.beta !== before.beta || now.lanes !== before.lanes || now.learningRate !== before.learningRate) later();
  });
  landscape.subscribe(later);
  engine.status.subscribe(({ step }) => {
    if (!failure.hidden) later();
    else if (step < at()) {
      wish ??= at();
      later();
    } else if (wish !== null && step >= wish) void load(wish);
  });
  void load(Math.min(FIRST, present()), present() < FIRST);
};

/** FlowRL and GRPO, or else the first two lanes. */
function pair(lanes: readonly LaneKind[]): [LaneKind, LaneKind] {
  const one = lanes.includes("flowrl") ? "flowrl" : lanes[0]!;
  const others = lanes.filter((kind) => kind !== one);
  return [one, others.includes("grpo") ? "grpo" : (others[0] ?? one)];
}
