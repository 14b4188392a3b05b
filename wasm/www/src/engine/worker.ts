// Owns the race: learns in slices of a few milliseconds, and sends a frame after each.

import { Landscape, Race, RaceOptions, measures } from "flowrl_wasm";
import { loadModule } from "./module";
import type { Command, Message, Question, Questions, Setup } from "./protocol";

/** Milliseconds of learning at a stretch: commands are heard in between. */
const SLICE = 8;
/** Milliseconds between frames. */
const FRAME = 1000 / 60;
/** Milliseconds between saved states, from which the page goes on after a trap. */
const SAVE = 1000;

let race: Race | undefined;
let side = 0;
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
    post({ type: "failed", error: error instanceof Error ? error.message : String(error), trapped });
  }
}

function start(setup: Setup, bytes: Uint8Array | null): void {
  race?.free();
  race = undefined;
  const options = new RaceOptions();
  for (const key of ["beta", "seed", "samples", "learningRate", "logZLearningRate"] as const) options[key] = setup[key];
  for (const kind of setup.lanes) options.addLane(kind, 0, 0);
  const landscape = Landscape.of(setup.side, setup.rewards, setup.reference);
  side = setup.side;
  race = Race.onLandscape(landscape, options);
  if (bytes) race.load(bytes);
  landscape.free();
  options.free();
  [shown, sent, owed, saved] = [null, 0, 0, 0];
  ticks = { at: performance.now(), steps: race.step, rate: 0 };
  post({ type: "started", measures: measures() });
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
  post({ type: "frame", shown: snapshot, step, frame, from, records, snapshots, rate }, [
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
      post({ type: "saved", step: race.step, bytes }, [bytes.buffer]);
    }
    timer = setTimeout(tick, Math.max(0, FRAME - (performance.now() - now)));
  });
}

function answer<Q extends Question>(question: Q, asked: object): [Questions[Q]["answer"], Transferable[]] {
  if (!race) throw new Error("there is no race to ask");
  if (question === "csv") return [race.csv() as Questions[Q]["answer"], []];
  if (question === "config") {
    const { lane, steps } = asked as Questions["config"]["ask"];
    return [race.config(lane, steps) as Questions[Q]["answer"], []];
  }
  if (question === "fork") {
    shown = null;
    const step = race.fork((asked as Questions["fork"]["ask"]).step);
    sent = Infinity;
    sendFrame();
    return [step as Questions[Q]["answer"], []];
  }
  const { lane, step: at } = asked as Questions["explain"]["ask"];
  const explanation = race.explain(lane, at);
  const { objects, rewards, logProbs, refLogProbs, advantages, residuals, pushes, before, after } = explanation;
  const { step, loss, logZBefore, logZAfter } = explanation;
  explanation.free();
  const lists = { objects, rewards, logProbs, refLogProbs, advantages, residuals, pushes, before, after };
  const update = { ...lists, step, loss, logZBefore, logZAfter };
  return [update as Questions[Q]["answer"], Object.values(lists).map((list) => list.buffer)];
}

function obey(command: Command): void {
  switch (command.type) {
    case "start":
      guarded(() => start(command.setup, command.saved));
      break;
    case "play":
      playing = command.playing;
      last = performance.now();
      if (playing) {
        shown = null;
        ticks = { at: last, steps: race?.step ?? 0, rate: ticks.rate };
        timer ??= setTimeout(tick, 0);
      }
      break;
    case "step":
      guarded(() => {
        shown = null;
        race?.run(command.steps);
        sendFrame();
      });
      break;
    case "speed":
      speed = command.speed;
      break;
    case "beta":
      guarded(() => {
        race?.setBeta(command.beta);
        if (!playing) sendFrame();
      });
      break;
    case "rate":
      guarded(() => race?.setLearningRate(command.learningRate));
      break;
    case "landscape":
      guarded(() => {
        const landscape = Landscape.of(side, command.rewards, command.reference);
        race?.setLandscape(landscape);
        landscape.free();
        if (!playing) sendFrame();
      });
      break;
    case "show":
      shown = command.step;
      guarded(sendFrame);
      break;
    case "crash":
      guarded(() => {
        throw new WebAssembly.RuntimeError("unreachable");
      });
      break;
    case "ask":
      try {
        const [result, transfer] = answer(command.question, command.ask);
        post({ type: "answer", id: command.id, answer: result }, transfer);
      } catch (error) {
        post({ type: "answer", id: command.id, error: error instanceof Error ? error.message : String(error) });
        if (error instanceof WebAssembly.RuntimeError) guarded(() => { throw error; });
      }
      break;
  }
}

/** Obeys the page. */
export function runRace(): void {
  const ready = loadModule();
  // Commands keep their order while the module is being compiled.
  self.onmessage = (event: MessageEvent<Command>) =>
    void ready.then(
      () => obey(event.data),
      (error: unknown) => post({ type: "failed", error: String(error), trapped: false }),
    );
}
