import type { LaneKind } from "flowrl_wasm";
import { type Figure, createFigure } from "../charts";
import { spawn } from "../engine/spawn";
import { LANES, LANE_KINDS } from "../lanes";
import { MOST_LANES, SIDE } from "../state";
import { byId, h, laneMark, radios } from "../ui/dom";
import { decimals, significant } from "../ui/format";
import { metricRow } from "../ui/texts";
import { type Colour, type Outcomes, drawLegend, drawMap, mapHeight, noOutcomes } from "./map/picture";
import { BETAS, CELLS, type MapCommand, type MapMessage, RATES, cellOf, coarseToFine, settingsOf } from "./map/protocol";
import type { Mount } from "./panel";

/** Up to this KL a run counts as having reached the target. */
const NEAR = 0.1;
/** Milliseconds that the landscape must rest before its map is made. */
const REST = 300;

const nameOf = (cell: number): string => {
  const { beta, learningRate } = settingsOf(cell);
  return `β ${beta}, learning rate ${learningRate}`;
};

/** Final KL and peaks over β and learning rate, one small map for each method. */
export const mount: Mount = (_, context) => {
  const order = coarseToFine(BETAS.length, RATES.length);
  const outcomes = new Map<LaneKind, Outcomes>();
  const figures = new Map<LaneKind, { card: HTMLElement; figure: Figure }>();
  let kinds: LaneKind[] = ["flowrl", "grpo", "reward-kl"];
  let colour: Colour = "kl";
  let steps = 400;
  let cursor = -1;
  let number = 0;
  let visible = false;
  let stale = true;
  let timer = 0;
  let worker: Worker | undefined;

  const of = (kind: LaneKind): Outcomes => {
    const known = outcomes.get(kind) ?? noOutcomes();
    outcomes.set(kind, known);
    return known;
  };
  const isDone = (kind: LaneKind, cell: number) => !Number.isNaN(of(kind).kl[cell]);
  const doneCount = () => kinds.reduce((sum, kind) => sum + order.filter((cell) => isDone(kind, cell)).length, 0);

  const progress = byId<HTMLProgressElement>("map-progress");
  const count = byId("map-count");
  const verdict = byId("map-verdict");
  const legend = createFigure({
    label: "What the colours mean",
    height: 30,
    draw: (pen, theme) => drawLegend(pen, theme, colour, peaks()),
  });
  byId("map-legend").prepend(legend.element);
  radios<Colour>("map-colours", (value) => {
    colour = value;
    show();
  });
  const stepList = byId<HTMLSelectElement>("map-steps");
  stepList.onchange = () => {
    steps = Number(stepList.value);
    forget();
  };

  const peaks = () => {
    const known = kinds.flatMap((kind) => [...of(kind).peaks]).filter((n) => n > 0);
    return Math.max(context.landscape.get().peaks.length, ...known);
  };
  const inRace = () => cellOf(context.settings.get().beta, context.settings.get().learningRate);

  function load(cell: number): void {
    context.go({ ...settingsOf(cell), lanes: kinds });
    context.announce(`The race above runs with ${nameOf(cell)}.`);
  }

  function resultOf(kind: LaneKind, cell: number): string {
    const { kl, found, peaks: all } = of(kind);
    if (!isDone(kind, cell)) return "not made yet";
    if (kl[cell] === Infinity) return "broke down";
    return `KL ${significant(kl[cell] ?? NaN, 2)}, ${decimals(found[cell] ?? NaN, 0)} of ${all[cell] ?? NaN} peaks`;
  }

  function showCell(): void {
    const cell = cursor < 0 ? inRace() : cursor;
    byId("map-cell").replaceChildren(
      ...(cell < 0
        ? [h("div", {}, h("dt", {}, "Point at a cell, or walk through a map with the arrow keys; Enter loads the run."))]
        : [
            h("div", {}, h("dt", {}, cursor < 0 ? "In the race" : "Cell"), h("dd", {}, nameOf(cell))),
            ...kinds.map((kind) => h("div", {}, h("dt", {}, LANES[kind].name), h("dd", {}, resultOf(kind, cell)))),
          ]),
    );
  }

  function moveTo(cell: number): void {
    if (cell === cursor) return;
    cursor = cell;
    for (const { figure } of figures.values()) figure.invalidate();
    showCell();
  }

  function press(kind: LaneKind, event: KeyboardEvent): boolean {
    const wide = BETAS.length;
    const from = cursor < 0 ? Math.max(0, inRace()) : cursor;
    const [column, row] = [from % wide, Math.floor(from / wide)];
    const at = (c: number, r: number) =>
      Math.min(RATES.length - 1, Math.max(0, r)) * wide + Math.min(wide - 1, Math.max(0, c));
    const moves: Record<string, number> = {
      ArrowLeft: at(column - 1, row),
      ArrowRight: at(column + 1, row),
      ArrowUp: at(column, row + 1),
      ArrowDown: at(column, row - 1),
      Home: at(0, row),
      End: at(wide, row),
    };
    if (event.key === "Enter" || event.key === " ") {
      load(from);
      return true;
    }
    const to = moves[event.key];
    if (to === undefined) return false;
    moveTo(to);
    context.announce(`${nameOf(to)}: ${resultOf(kind, to)}`);
    return true;
  }

  function figureOf(kind: LaneKind): { card: HTMLElement; figure: Figure } {
    const known = figures.get(kind);
    if (known) return known;
    let cellAt = (_x: number, _y: number) => -1;
    const figure = createFigure({
      label: `${LANES[kind].name}: final distance from the target over β and learning rate`,
      height: mapHeight,
      role: "application",
      draw: (pen, theme) => {
        cellAt = drawMap(pen, theme, of(kind), colour, cursor, inRace());
      },
      onKey: (event) => press(kind, event),
      onPointer: ({ type, x, y }) => {
        const cell = type === "leave" ? -1 : cellAt(x, y);
        moveTo(cell);
        if (type === "up" && cell >= 0) load(cell);
      },
    });
    const card = h("div", { class: "card map-card" }, h("h3", {}, laneMark(kind), LANES[kind].name), figure.element);
    const made = { card, figure };
    figures.set(kind, made);
    return made;
  }

  /** Puts everything on the page as it is now. */
  function show(): void {
    for (const kind of kinds) figureOf(kind).figure.invalidate();
    legend.invalidate();
    const { text, title } = metricRow(colour === "kl" ? "kl" : "modes_found");
    byId("map-legend-text").textContent = `${text} after the last step. ${title}`;
    showProgress();
    showCell();
  }

  function showProgress(): void {
    const [done, all] = [doneCount(), kinds.length * CELLS];
    progress.value = done / all;
    progress.hidden = done === all;
    count.textContent = done === all ? `${all} runs of ${steps} steps, made in your browser` : `${done} of ${all} runs`;
    const near = (kind: LaneKind) => of(kind).kl.filter((kl) => kl <= NEAR).length;
    const reached = kinds.map((kind) => `${LANES[kind].name} in ${near(kind)}`).join(", ");
    verdict.textContent = done === all ? `Within KL ${NEAR} of the target, of ${CELLS} runs each: ${reached}.` : "";
    if (done < all) return;
    for (const kind of kinds) {
      const best = order.reduce((a, b) => ((of(kind).kl[a] ?? NaN) <= (of(kind).kl[b] ?? NaN) ? a : b));
      figureOf(kind).figure.setSummary(
        `${near(kind)} of ${CELLS} runs end within KL ${NEAR} of the target; the nearest with ${nameOf(best)}: ${resultOf(kind, best)}.`,
      );
    }
  }

  const send = (command: MapCommand) => worker?.postMessage(command);

  function hear(message: MapMessage): void {
    if (message.type === "failed") {
      count.textContent = `The map stopped: ${message.error}`;
      worker?.terminate();
      worker = undefined;
      return;
    }
    if (message.number !== number) return;
    const { run, kl, found, peaks: all } = message;
    const known = of(run.kind);
    known.kl[run.cell] = kl;
    known.found[run.cell] = found;
    known.peaks[run.cell] = all;
    figures.get(run.kind)?.figure.invalidate();
    showProgress();
    if (run.cell === (cursor < 0 ? inRace() : cursor)) showCell();
    if (doneCount() === kinds.length * CELLS) context.announce(`The map is complete. ${verdict.textContent}`);
  }

  /** Asks for the runs that are missing, if anyone can see them. */
  function pursue(): void {
    const going = visible && !document.hidden;
    if (going && stale) {
      stale = false;
      if (!worker) {
        worker = spawn("map");
        worker.onmessage = (event: MessageEvent<MapMessage>) => hear(event.data);
        worker.onerror = (event) => hear({ type: "failed", error: event.message || "the worker stopped" });
      }
      const { seed, samples, logZLearningRate } = context.settings.get();
      const { rewards, reference } = context.landscape.get();
      const runs = order.flatMap((cell) => kinds.filter((kind) => !isDone(kind, cell)).map((kind) => ({ kind, cell })));
      const ground = { rewards, reference, side: SIDE, seed, samples, logZLearningRate, steps };
      send({ type: "start", number: ++number, ground, runs });
    }
    send({ type: "go", going });
  }

  /** Drops every outcome: they are of another landscape, or of another number of steps. */
  function forget(): void {
    number++;
    stale = true;
    outcomes.clear();
    send({ type: "go", going: false });
    show();
    clearTimeout(timer);
    timer = window.setTimeout(pursue, REST);
  }

  const boxes = LANE_KINDS.map((kind) => {
    const box = h("input", { type: "checkbox", checked: kinds.includes(kind), autocomplete: "off" });
    byId("map-methods").append(h("label", { class: "chip" }, box, LANES[kind].name));
    return box;
  });
  byId("map-methods").onchange = () => {
    kinds = LANE_KINDS.filter((_, i) => boxes[i]!.checked);
    stale = true;
    arrange();
    pursue();
  };

  /** Lays the maps of the chosen methods out; one is always left. */
  function arrange(): void {
    for (const box of boxes) box.disabled = box.checked ? kinds.length === 1 : kinds.length >= MOST_LANES;
    byId("maps").replaceChildren(...kinds.map((kind) => figureOf(kind).card));
    show();
  }
  arrange();

  new IntersectionObserver(([entry]) => {
    visible = entry?.isIntersecting ?? false;
    pursue();
  }).observe(byId("map-panel"));
  document.addEventListener("visibilitychange", pursue);
  context.landscape.subscribe(forget);
  context.settings.subscribe((now, before) => {
    if (now.seed !== before.seed || now.samples !== before.samples || now.logZLearningRate !== before.logZLearningRate) forget();
    if (now.beta !== before.beta || now.learningRate !== before.learningRate) show();
  });
};
