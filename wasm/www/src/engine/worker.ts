// Owns the race: learns in slices of a few milliseconds, and sends a frame after each.

import { Landscape, Race, RaceOptions, measures } from "flowrl_wasm";
import { messageOf } from "../error";
import { loadModule } from "./module";
import type { Command, Message, Question, Questions, Setup } from "./protocol";

/** Milliseconds of learning at a stretch: commands are heard in between. */
const SLICE = 8;
/** Milliseconds between frames. */
const FRAME = 1000 / 60;
/** Milliseconds between saved states, from which the page goes on after a trap. */
const SAVE = 1000;

let race: Race | undefined;
let number = 0;
let setup: Setup;
let playing = false;
let speed = 300;
let shown: number | null = null;
let sent = 0;
let owed = 0;
let last = 0;
let saved = 0;
let ticks = { at: 0, steps: 0, rate: 0 };
let timer: ReturnType<typeof setTimeout> | undefined;

const post = (message: Message, transfer: Transferable[] = []): void => self.postMessage(message, { transfer });

/** Runs something of the race; a trap or an error ends the race and is told to the page. */
function guarded(work: () => void): void {
  try {
    work();
  } catch (error) {
    playing = false;
    race = undefined;
    const trapped = error instanceof WebAssembly.RuntimeError;
    post({ type: "failed", error: messageOf(error), trapped });
  }
}

function start(bytes: Uint8Array | null): void {
  race?.free();
  race = undefined;
  const options = new RaceOptions();
  for (const key of ["beta", "seed", "samples", "learningRate", "logZLearningRate"] as const) options[key] = setup[key];
  for (const kind of setup.lanes) options.addLane(kind, 0, 0);
  const landscape = Landscape.of(setup.side, setup.rewards, setup.reference);
  race = Race.onLandscape(landscape, options);
  if (bytes) race.load(bytes);
  landscape.free();
  options.free();
  [shown, sent, owed, saved] = [null, 0, 0, 0];
  ticks = { at: performance.now(), steps: race.step, rate: 0 };
  post({ type: "started", number, measures: measures() });
  sendFrame();
}

function sendFrame(): void {
  if (!race) return;
  // A view into the module's memory: copied once, into what is handed to the page.
  const frame = (shown === null ? race.frame() : race.show(shown)).slice();
  const count = race.recordCount;
  // Fewer records than before: some have been thinned out or taken back, so all are sent again.
  const from = count < sent ? 0 : sent;
  const records = race.records(from);
  const snapshots = race.snapshotSteps();
  sent = count;
  const snapshot = shown === null ? race.step : (snapshots.findLast((step) => step <= (shown ?? 0)) ?? 0);
  const { step } = race;
  const rate = ticks.rate;
  post({ type: "frame", number, shown: snapshot, step, frame, from, records, snapshots, rate }, [
    frame.buffer,
    records.buffer,
    snapshots.buffer,
  ]);
}

function tick(): void {
  timer = undefined;
  if (!playing || !race) return;
  guarded(() => {
    const now = performance.now();
    // A pause of the machine is not made up for.
    owed += speed === 0 ? Infinity : (Math.min(now - last, 100) * speed) / 1000;
    last = now;
    while (owed >= 1 && race && performance.now() - now < SLICE) {
      race.run(1);
      owed -= 1;
    }
    // What did not fit into the slice is dropped, not piled up.
    owed = Number.isFinite(owed) ? Math.min(owed, 2) : 0;
    if (race && now - ticks.at > 500) {
      ticks = { at: now, steps: race.step, rate: (1000 * (race.step - ticks.steps)) / (now - ticks.at) };
    }
    sendFrame();
    if (race && now - saved > SAVE) {
      saved = now;
      const bytes = race.save();
      post({ type: "saved", number, step: race.step, bytes }, [bytes.buffer]);
    }
    timer = setTimeout(tick, Math.max(0, FRAME - (performance.now() - now)));
  });
}

/** How each question is answered. */
const answers: { readonly [Q in Question]: (race: Race, asked: Questions[Q]["ask"]) => Questions[Q]["answer"] } = {
  csv: (of) => of.csv(),
  config: (of, { lane, steps }) => of.config(setup.lanes.indexOf(lane), steps),
  fork(of, { step }) {
    shown = null;
    const found = of.fork(step);
    sent = Infinity;
    sendFrame();
    return found;
  },
  explain(of, asked) {
    const explanation = of.explain(setup.lanes.indexOf(asked.lane), asked.step);
    const { step, objects, rewards, logProbs, refLogProbs, advantages, residuals, pushes } = explanation;
    const { loss, logZBefore, logZAfter, before, after } = explanation;
    explanation.free();
    return { step, objects, rewards, logProbs, refLogProbs, advantages, residuals, pushes, loss, logZBefore, logZAfter, before, after };
  },
};

/** What each command does. */
const obey: { readonly [T in Command["type"]]: (command: Extract<Command, { type: T }>) => void } = {
  start(command) {
    ({ number, setup } = command);
    guarded(() => start(command.saved));
  },
  play(command) {
    playing = command.playing;
    last = performance.now();
    if (!playing) return;
    shown = null;
    ticks = { at: last, steps: race?.step ?? 0, rate: ticks.rate };
    timer ??= setTimeout(tick, 0);
  },
  step: ({ steps }) =>
    guarded(() => {
      shown = null;
      race?.run(steps);
      sendFrame();
    }),
  speed(command) {
    speed = command.speed;
  },
  beta: ({ beta }) =>
    guarded(() => {
      race?.setBeta(beta);
      if (!playing) sendFrame();
    }),
  rate: ({ learningRate }) => guarded(() => race?.setLearningRate(learningRate)),
  landscape: ({ rewards, reference }) =>
    guarded(() => {
      const landscape = Landscape.of(setup.side, rewards, reference);
      race?.setLandscape(landscape);
      landscape.free();
      if (!playing) sendFrame();
    }),
  show({ step }) {
    shown = step;
    guarded(sendFrame);
  },
  crash: () =>
    guarded(() => {
      throw new WebAssembly.RuntimeError("unreachable");
    }),
  ask({ id, question, ask }) {
    try {
      if (!race) throw new Error("there is no race to ask");
      post({ type: "answer", id, answer: answers[question](race, ask as never) });
    } catch (error) {
      post({ type: "answer", id, error: messageOf(error) });
      if (error instanceof WebAssembly.RuntimeError) guarded(() => { throw error; });
    }
  },
};

/** Obeys the page. */
export function runRace(): void {
  const ready = loadModule();
  // Commands keep their order while the module is being compiled.
  self.onmessage = (event: MessageEvent<Command>) =>
    void ready.then(
      () => obey[event.data.type](event.data as never),
      (error: unknown) => post({ type: "failed", error: String(error), trapped: false }),
    );
}
