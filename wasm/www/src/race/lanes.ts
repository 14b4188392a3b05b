import type { PanelContext } from "../panels/panel";
import { LANES } from "../lanes";
import type { Store } from "../store";
import { button, h, segmented } from "../ui/dom";
import type { View } from "../state";
import type { Aim } from "./aim";
import { type LaneCard, createLane } from "./lane";
import { toggleSeen, unseen } from "./view";

/** The lanes side by side. */
export interface Lanes {
  readonly element: HTMLElement;
  readonly cards: () => readonly LaneCard[];
}

/** All policies of the race. */
export function mountLanes(context: PanelContext, aim: Store<Aim>): Lanes {
  const { engine, settings, announce } = context;
  let cards: LaneCard[] = [];
  const grid = h("div", { class: "lanes" });
  const away = h("div", { class: "controls", role: "group", "aria-label": "Hidden lanes" });
  const view = segmented<View>("Show", [["policy", "Policies"], ["difference", "Difference from the target"]], settings.get().view, (chosen) => settings.patch({ view: chosen }));

  const build = () => {
    for (const card of cards) card.destroy();
    cards = settings.get().lanes.map((kind) => createLane(context, aim, kind));
    grid.replaceChildren(...cards.map((card) => card.element));
    arrange();
  };
  const arrange = () => {
    const { solo } = settings.get();
    const gone = unseen.get();
    grid.classList.toggle("alone", solo !== null);
    for (const { kind, element } of cards) element.hidden = solo ? kind !== solo : gone.has(kind);
    away.replaceChildren(
      ...cards
        .filter(({ kind }) => !solo && gone.has(kind))
        .map(({ kind }) => button(`Show ${LANES[kind].name}`, () => toggleSeen(kind), { class: "chip" })),
    );
  };
  build();
  settings.subscribe((now, before) => {
    if (now.lanes !== before.lanes) build();
    if (now.solo !== before.solo) arrange();
    view.choose(now.view);
  });
  unseen.subscribe(arrange);
  engine.frame.subscribe((frame) => {
    for (const lane of frame?.lanes ?? []) cards.find((card) => card.kind === lane.kind)?.update(lane);
  });
  engine.status.subscribe((now, before) => {
    if (before.playing && !now.playing) {
      announce(`Paused at step ${now.step}. ${cards.map((card) => card.summary()).join(". ")}.`);
    }
  });
  const element = h("div", { class: "lane-area", "data-part": "lanes" }, h("div", { class: "controls spread" }, view.element, away), grid);
  return { element, cards: () => cards };
}
