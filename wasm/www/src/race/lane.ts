import type { LaneKind } from "flowrl_wasm";
import { type Figure, type GridLayout, createFigure, heatMap, sparkline } from "../charts";
import type { LaneFrame } from "../engine/client";
import { LANES } from "../lanes";
import type { PanelContext } from "../panels/panel";
import type { Store } from "../store";
import { button, h, laneMark } from "../ui/dom";
import { distance } from "../ui/format";
import { metricRow, text } from "../ui/texts";
import type { Aim } from "./aim";
import { cell, toggleSeen } from "./view";

/** Batches of samples that are still seen, and the answers shown of each. */
const BATCHES = 4;
const SHOWN = 24;
/** Height of the strip below the map. */
const STRIP = 34;

/** A lane on the page. */
export interface LaneCard {
  readonly kind: LaneKind;
  readonly element: HTMLElement;
  readonly figure: Figure;
  update(lane: LaneFrame): void;
  /** One sentence on how it stands. */
  summary(): string;
  destroy(): void;
}

/** How many peaks a lane keeps, as text. */
export const peaksKept = (lane: LaneFrame): string => `${lane.measure("modes_found")} of ${lane.measure("modes")}`;

/** The map of a lane: its policy, the target's contours, the last samples. */
export function drawLane(
  pen: Parameters<typeof heatMap>[0],
  box: Parameters<typeof heatMap>[1],
  lane: LaneFrame,
  aim: Aim,
  difference: boolean,
  theme: Parameters<typeof heatMap>[3],
  extra: { samples?: { cells: number[]; ages: number[] }; cursor?: number } = {},
): GridLayout {
  const { probabilities: target, terrain } = aim;
  const cells = [...terrain.peaks];
  const covered = cells.map((peak) => (lane.probabilities[peak] ?? 0) >= 0.5 * (target[peak] ?? 0));
  const values = difference ? lane.probabilities.map((p, i) => p - (target[i] ?? 0)) : lane.probabilities;
  const shown = { contours: aim.contours, peaks: { cells, covered }, ...extra };
  return heatMap(pen, box, { values, difference, ...shown }, theme);
}

/** A card with the policy of a lane. */
export function createLane(context: PanelContext, aim: Store<Aim>, kind: LaneKind): LaneCard {
  const { engine, settings } = context;
  const { name } = LANES[kind];
  const about = text(`lane-${kind}`);
  let lane: LaneFrame | null = null;
  let layout: GridLayout | null = null;
  const batches: number[][] = [];
  const index = () => engine.history.get().kinds.indexOf(kind);

  const figure = createFigure({
    label: `${name}: probability of every answer`,
    height: (width) => width + STRIP,
    draw(pen, theme) {
      if (!lane) return;
      const samples = { cells: batches.flat(), ages: batches.flatMap((batch, i) => batch.map(() => i / BATCHES)) };
      const box = { x: 0, y: 0, width: pen.width, height: pen.width };
      layout = drawLane(pen, box, lane, aim.get(), settings.get().view === "difference", theme, { samples, cursor: cell.get() });
      const history = engine.history.get();
      const values = history.of(index(), "kl");
      const strip = { x: 0, y: pen.width + 8, width: pen.width, height: STRIP - 10 };
      if (values.length > 1) {
        sparkline(pen, strip, { x: history.steps, values, colour: theme.lanes[kind], domain: [1e-4, 10] });
      }
    },
    onPointer({ type, x, y, event }) {
      cell.set(type === "leave" || event.pointerType === "touch" ? -1 : (layout?.cellAt(x, y) ?? -1));
    },
  });

  const [modes, divergence] = [metricRow("modes_found"), metricRow("kl")];
  const peaks = h("span", { class: "badge", title: `${modes.text}: ${modes.title}` });
  const kl = h("span", { class: "number" });
  const only = button("", () => settings.patch({ solo: settings.get().solo === kind ? null : kind }), { class: "button icon quiet" });
  const element = h(
    "article",
    { class: "lane card", "data-lane": kind },
    h(
      "header",
      {},
      h("h3", { title: about }, laneMark(kind), name),
      only,
      button("–", () => toggleSeen(kind), { class: "button icon quiet", "aria-label": `Hide ${name}`, title: `Hide ${name}` }),
    ),
    figure.element,
    h("p", { class: "lane-numbers" }, peaks, h("span", { class: "kl", title: divergence.title }, `${divergence.text} `, kl)),
    h("p", { class: "lane-about note" }, about),
  );
  const summary = () => (lane ? `${name} keeps ${peaksKept(lane)} peaks, KL ${distance(lane.measure("kl"))}` : "");
  const stop = settings.subscribe(({ solo }) => {
    const alone = solo === kind;
    only.textContent = alone ? "▦" : "▣";
    only.setAttribute("aria-label", alone ? "Show all lanes" : `Show ${name} alone`);
    only.title = alone ? "Show all lanes" : `Show ${name} alone`;
    element.classList.toggle("solo", alone);
    figure.invalidate();
  }, true);
  const stops = [stop, aim.subscribe(() => figure.invalidate()), cell.subscribe(() => figure.invalidate())];
  let spoken = 0;
  return {
    kind,
    element,
    figure,
    update(next) {
      lane = next;
      batches.unshift(Array.from(next.samples.subarray(0, SHOWN)));
      batches.length = Math.min(batches.length, BATCHES);
      const [found, all] = [next.measure("modes_found"), next.measure("modes")];
      peaks.textContent = `${found} of ${all} peaks`;
      element.dataset["peaks"] = String(found);
      peaks.classList.toggle("whole", found === all);
      kl.textContent = distance(next.measure("kl"));
      figure.invalidate();
      if (performance.now() - spoken > 2000) {
        spoken = performance.now();
        figure.setSummary(summary());
      }
    },
    summary,
    destroy() {
      for (const end of stops) end();
      figure.destroy();
      element.remove();
    },
  };
}
