import type { PanelContext } from "../panels/panel";
import { LANES } from "../lanes";
import type { Store } from "../store";
import { button, byId, radios } from "../ui/dom";
import type { View } from "../state";
import type { Aim } from "./aim";
import { type LaneCard, createLane } from "./lane";
import { toggleSeen, unseen } from "./view";

/** All policies of the race, side by side. */
export function mountLanes(context: PanelContext, aim: Store<Aim>): void {
  const { engine, settings, announce } = context;
  let cards: LaneCard[] = [];
  const grid = byId("lanes");
  const choose = radios<View>("views", (view) => settings.patch({ view }));

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
    byId("lanes-away").replaceChildren(
      ...cards
        .filter(({ kind }) => !solo && gone.has(kind))
        .map(({ kind }) => button(`Show ${LANES[kind].name}`, () => toggleSeen(kind), { class: "chip" })),
    );
  };
  build();
  choose(settings.get().view);
  settings.subscribe((now, before) => {
    if (now.lanes !== before.lanes) build();
    if (now.solo !== before.solo) arrange();
    choose(now.view);
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
}
