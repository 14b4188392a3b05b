// Makes the runs of the β map, one after the other, and sends how each of them ended.

import { Landscape, Race, RaceOptions } from "flowrl_wasm";
import { loadModule } from "../../engine/module";
import { type Ground, type MapCommand, type MapMessage, type Run, settingsOf } from "./protocol";

/** Milliseconds of learning at a stretch: commands are heard in between. */
const SLICE = 30;
/** Steps between two looks at the clock. */
const STEPS = 25;

let number = 0;
let ground: Ground | undefined;
let landscape: Landscape | undefined;
let runs: readonly Run[] = [];
let next = 0;
let race: Race | undefined;
let going = false;
let timer: ReturnType<typeof setTimeout> | undefined;

const post = (message: MapMessage): void => self.postMessage(message);

function drop(): void {
  race?.free();
  race = undefined;
}

function begin({ kind, cell }: Run, { seed, samples, logZLearningRate, steps }: Ground): Race {
  const options = new RaceOptions();
  Object.assign(options, { seed, samples, logZLearningRate, ...settingsOf(cell), recordEvery: steps });
  options.addLane(kind, 0, 0);
  const made = Race.onLandscape(landscape!, options);
  options.free();
  return made;
}

function finish(run: Run, kl: number, found: number, peaks: number): void {
  drop();
  next++;
  post({ type: "result", number, run, kl, found, peaks });
}

/** Goes on with the run that is under way, and sends its result when it is done. */
function advance(run: Run, on: Ground): void {
  try {
    race ??= begin(run, on);
    race.run(Math.min(STEPS, on.steps - race.step));
    if (race.step < on.steps) return;
    finish(run, race.measure(0, "kl"), race.measure(0, "modes_found"), race.measure(0, "modes"));
  } catch (error) {
    if (error instanceof WebAssembly.RuntimeError) throw error;
    // Numbers that are no longer finite: a result as well.
    finish(run, Infinity, 0, NaN);
  }
}

function tick(): void {
  timer = undefined;
  const until = performance.now() + SLICE;
  while (going && ground && performance.now() < until) {
    const run = runs[next];
    if (!run) return;
    advance(run, ground);
  }
  if (going) timer = setTimeout(tick, 0);
}

function obey(command: MapCommand): void {
  if (command.type === "start") {
    drop();
    landscape?.free();
    ({ number, ground, runs } = command);
    next = 0;
    landscape = Landscape.of(ground.side, ground.rewards, ground.reference);
  } else {
    going = command.going;
  }
  if (going) timer ??= setTimeout(tick, 0);
}

/** Obeys the page. */
export function runMap(): void {
  const ready = loadModule();
  self.onmessage = (event: MessageEvent<MapCommand>) =>
    void ready.then(() => obey(event.data)).catch((error: unknown) => post({ type: "failed", error: String(error) }));
}
