import { Hypergrid, Race, RaceOptions, measures } from "flowrl_wasm";
import { type Figure, createFigure, heatMap } from "../../charts";
import { byId, h, radios } from "../../ui/dom";
import { decimals, percent, whole } from "../../ui/format";
import { text } from "../../ui/texts";
import { splitFrame } from "../../engine/frame";
import type { PanelContext } from "../panel";
import { inSlices } from "../slices";

const SIDE = 16;
/** Updates after which it stops by itself. */
const MOST = 3000;

/** How each policy comes to its batches. */
const WAYS = [
  { name: "On policy", exploration: 0, replay: 0 },
  { name: "With exploration", exploration: 0.2, replay: 0 },
  { name: "With replay", exploration: 0, replay: 0.5 },
] as const;

type Valley = "easy" | "hard";

/** A policy as it is drawn: its name, probabilities, and how many modes it has. */
interface View {
  readonly figure: Figure;
  readonly numbers: HTMLElement;
  readonly element: HTMLElement;
  probabilities: ArrayLike<number>;
}

/** Small networks that learn one grid from their own samples, with random actions, and with a memory. */
export function mountCollapse({ announce }: PanelContext): void {
  let reward: Valley = "hard";
  let seed = 0;
  let race: Race | null = null;
  let peaks: Uint32Array = new Uint32Array();
  let goal: Float64Array = new Float64Array(SIDE * SIDE);
  let pause: (() => void) | null = null;
  let told = 0;

  const views = ["Target", ...WAYS.map(({ name }) => name)].map((name) => view(name));
  function view(name: string): View {
    const numbers = h("span", { class: "number" });
    const made: View = {
      probabilities: goal,
      numbers,
      figure: createFigure({
        label: `${name}: probabilities on the grid`,
        height: (width) => width,
        draw: (pen, theme) => {
          const p = made.probabilities;
          const covered = Array.from(peaks, (cell) => (p[cell] ?? 0) >= (goal[cell] ?? 0) / 2);
          const box = { x: 1, y: 1, width: pen.width - 2, height: pen.height - 2 };
          heatMap(pen, box, { values: p, peaks: { cells: peaks, covered } }, theme);
        },
      }),
      element: h("div", { class: "way" }),
    };
    made.element.append(h("h4", {}, name), made.figure.element, h("p", { class: "note" }, numbers));
    return made;
  }

  const play = byId("collapse-play");
  play.onclick = () => (pause ? stop() : start());

  function stop(): void {
    pause?.();
    pause = null;
    play.textContent = "Play";
  }

  function start(): void {
    if (!race || race.step >= MOST) reset();
    const running = race;
    if (!running) return;
    play.textContent = "Pause";
    let slices = 0;
    const work = () => {
      running.run(1);
      return running.step < MOST;
    };
    const finish = () => {
      stop();
      show();
      announce(`Step ${MOST}: ${summary()}`);
    };
    pause = inSlices(work, finish, () => {
      // Measuring costs as much as an update.
      if (++slices % 3 === 0) show();
    });
  }

  function reset(): void {
    stop();
    race?.free();
    const options = Object.assign(new RaceOptions(), {
      seed,
      samples: 32,
      learningRate: 0.003,
      logZLearningRate: 0.1,
      beta: 1,
    });
    options.network(32, 2);
    for (const { exploration, replay } of WAYS) options.addLane("flowrl", exploration, replay);
    const grid = new Hypergrid(SIDE, reward);
    const target = grid.target(1);
    [peaks, goal] = [grid.peaks(), target.probabilities()];
    race = Race.onHypergrid(grid, options);
    for (const used of [target, grid, options]) used.free();
    told = 0;
    views[0]!.probabilities = goal;
    views[0]!.numbers.textContent = `${peaks.length} modes`;
    views[0]!.figure.setSummary(
      `Four modes, one near each corner, with ${percent(goal[peaks[0] ?? 0] ?? 0)} at the best point of each.`,
    );
    views[0]!.figure.invalidate();
    byId("collapse-measured").textContent = text(`collapse-${reward}`);
    show();
  }

  const found: number[] = [];
  const summary = () =>
    WAYS.map(({ name }, i) => `${name.toLowerCase()} ${found[i]} of ${peaks.length} modes`).join(", ");

  function show(): void {
    if (!race) return;
    splitFrame(race.frame(), WAYS.length, measures(), SIDE * SIDE).forEach(({ measure, probabilities }, lane) => {
      const shown = views[lane + 1]!;
      // The frame is a view into the module's memory.
      shown.probabilities = probabilities.slice();
      found[lane] = measure("modes_found");
      const distance = decimals(measure("tv"), 2);
      const said = `${found[lane]} of ${measure("modes")} modes, total variation ${distance}`;
      shown.numbers.textContent = said;
      shown.figure.setSummary(said);
      shown.figure.invalidate();
    });
    byId("collapse-step").textContent = whole(race.step);
    const all = found.filter((n) => n === peaks.length).length;
    if (all > told) announce(`Step ${race.step}: ${summary()}`);
    told = all;
  }

  byId("collapse-ways").append(...views.map(({ element }) => element));
  radios<Valley>("collapse-valleys", (chosen) => {
    reward = chosen;
    reset();
  });
  byId("collapse-again").onclick = () => {
    seed++;
    reset();
    announce(`Seed ${seed}, step 0.`);
  };
  reset();

  // Nobody watches what has been scrolled away.
  new IntersectionObserver(([entry]) => {
    if (!entry?.isIntersecting) stop();
  }).observe(byId("collapse"));
}
