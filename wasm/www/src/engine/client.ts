import type { LaneKind } from "flowrl_wasm";
import { type Store, createStore } from "../store";
import { type PolicyFrame, splitFrame } from "./frame";
import type { Command, Message, Question, Questions, Setup, Update } from "./protocol";
import { spawn } from "./spawn";

/** A policy as it stands. */
export interface LaneFrame extends PolicyFrame {
  readonly kind: LaneKind;
}

/** All policies after the same step. */
export interface Frame {
  readonly step: number;
  readonly lanes: readonly LaneFrame[];
}

/** What was measured so far. */
export interface History {
  readonly kinds: readonly LaneKind[];
  readonly steps: Float64Array;
  /** A measure of a lane over `steps`. */
  readonly of: (lane: number, name: string) => Float64Array;
}

/** How the race is doing. */
export interface Status {
  readonly ready: boolean;
  readonly playing: boolean;
  readonly step: number;
  /** The step of what is shown, where that is the past. */
  readonly shown: number | null;
  /** Steps that the past can be seen at. */
  readonly snapshots: Float64Array;
  /** Updates a second. */
  readonly rate: number;
  /** What went wrong last; empty where nothing did. */
  readonly error: string;
}

/** The race in its worker. */
export interface Engine {
  readonly frame: Store<Frame | null>;
  readonly history: Store<History>;
  readonly status: Store<Status>;
  start(setup: Setup): void;
  play(): void;
  pause(): void;
  step(steps?: number): void;
  setSpeed(speed: number): void;
  setBeta(beta: number): void;
  setLearningRate(rate: number): void;
  setLandscape(rewards: Float64Array, reference: Float64Array): void;
  /** Shows the past up to a step; null is now. Pauses. */
  show(step: number | null): void;
  /** Goes back to a step and forgets what came after it; gives the step it found. */
  fork(step: number): Promise<number>;
  /** The next update of a lane, or the one after `step` steps, taken apart; the race stays where it is. */
  explain(lane: LaneKind, step?: number): Promise<Update>;
  csv(): Promise<string>;
  /** A configuration for the command line. */
  config(lane: LaneKind, steps: number): Promise<string>;
  /** Makes the module trap, for tests. */
  crash(): void;
}

const EMPTY = new Float64Array();
const NO_HISTORY: History = { kinds: [], steps: EMPTY, of: () => EMPTY };
const IDLE: Status = { ready: false, playing: false, step: 0, shown: null, snapshots: EMPTY, rate: 0, error: "" };

/** Records in one growing array, read column by column. */
function recorder(kinds: readonly LaneKind[], measures: readonly string[]) {
  const row = 1 + kinds.length * measures.length;
  let rows = new Float64Array(row * 256);
  let count = 0;
  const column = (at: number) => Float64Array.from({ length: count }, (_, i) => rows[i * row + at] ?? NaN);
  return (from: number, added: Float64Array): History => {
    count = from + added.length / row;
    if (count * row > rows.length) {
      const larger = new Float64Array(2 * count * row);
      larger.set(rows);
      rows = larger;
    }
    rows.set(added, from * row);
    const columns = new Map<number, Float64Array>();
    const cached = (at: number) => {
      let values = columns.get(at);
      if (!values) columns.set(at, (values = column(at)));
      return values;
    };
    const of = (lane: number, name: string) => {
      const at = measures.indexOf(name);
      return at < 0 || lane < 0 || lane >= kinds.length ? EMPTY : cached(1 + lane * measures.length + at);
    };
    return { kinds, steps: cached(0), of };
  };
}

/** Starts the worker. After a trap it starts another, which goes on from the last state that was saved. */
export function createEngine(): Engine {
  const frame = createStore<Frame | null>(null);
  const history = createStore<History>(NO_HISTORY);
  const status = createStore<Status>(IDLE);
  const waiting = new Map<number, { resolve: (answer: never) => void; reject: (error: Error) => void }>();
  let worker = launch();
  let setup: Setup | null = null;
  let saved: { step: number; bytes: Uint8Array } | null = null;
  let speed = 300;
  let measures: readonly string[] = [];
  let record = recorder([], []);
  let asked = 0;
  let number = 0;

  function launch(): Worker {
    const launched = spawn("race");
    launched.onmessage = (event: MessageEvent<Message>) => {
      if (launched === worker) hear(event.data);
    };
    launched.onerror = (event) => {
      event.preventDefault();
      if (launched === worker) recover(event.message || "the worker stopped", true);
    };
    return launched;
  }

  const send = (command: Command) => worker.postMessage(command);

  function begin(bytes: Uint8Array | null): void {
    if (!setup) return;
    send({ type: "start", number: ++number, setup, saved: bytes });
    send({ type: "speed", speed });
    if (status.get().playing) send({ type: "play", playing: true });
  }

  function recover(error: string, trapped: boolean): void {
    for (const { reject } of waiting.values()) reject(new Error(error));
    waiting.clear();
    if (!trapped) {
      status.patch({ playing: false, error });
      return;
    }
    worker.terminate();
    worker = launch();
    const from = saved ? `from step ${saved.step}` : "from the start";
    status.patch({ error: `The engine stopped (${error}). It was started again ${from}.` });
    begin(saved?.bytes ?? null);
  }

  function hear(message: Message): void {
    // Of a race before this one, which had other lanes perhaps.
    if ("number" in message && message.number !== number) return;
    switch (message.type) {
      case "started":
        measures = message.measures;
        record = recorder(setup?.lanes ?? [], measures);
        status.patch({ ready: true, shown: null });
        break;
      case "frame": {
        history.set(record(message.from, message.records));
        const { step, shown, snapshots, rate } = message;
        const kinds = setup?.lanes ?? [];
        const policies = splitFrame(message.frame, kinds.length, measures, setup ? setup.side ** 2 : 0);
        frame.set({ step: shown, lanes: policies.map((policy, i) => ({ kind: kinds[i]!, ...policy })) });
        status.patch({ step, snapshots, rate, shown: shown === step ? null : shown });
        break;
      }
      case "saved":
        saved = message;
        break;
      case "answer": {
        const asker = waiting.get(message.id);
        waiting.delete(message.id);
        if (message.error === undefined) asker?.resolve(message.answer as never);
        else asker?.reject(new Error(message.error));
        break;
      }
      case "failed":
        recover(message.error, message.trapped);
        break;
    }
  }

  function ask<Q extends Question>(question: Q, words: Questions[Q]["ask"]): Promise<Questions[Q]["answer"]> {
    const id = ++asked;
    return new Promise((resolve, reject) => {
      waiting.set(id, { resolve, reject });
      send({ type: "ask", id, question, ask: words });
    });
  }

  const pause = () => {
    status.patch({ playing: false });
    send({ type: "play", playing: false });
  };
  return {
    frame,
    history,
    status,
    start(next) {
      setup = next;
      saved = null;
      status.patch({ step: 0, shown: null, error: "" });
      begin(null);
    },
    play() {
      status.patch({ playing: true, shown: null });
      send({ type: "play", playing: true });
    },
    pause,
    step(steps = 1) {
      if (status.get().playing) pause();
      send({ type: "step", steps });
    },
    setSpeed(next) {
      speed = next;
      send({ type: "speed", speed });
    },
    setBeta(beta) {
      if (setup) setup = { ...setup, beta };
      send({ type: "beta", beta });
    },
    setLearningRate(learningRate) {
      if (setup) setup = { ...setup, learningRate };
      send({ type: "rate", learningRate });
    },
    setLandscape(rewards, reference) {
      if (setup) setup = { ...setup, rewards, reference };
      send({ type: "landscape", rewards, reference });
    },
    show(step) {
      if (status.get().playing) pause();
      send({ type: "show", step });
    },
    async fork(step) {
      const found = await ask("fork", { step });
      saved = null;
      return found;
    },
    explain: (lane, step) => ask("explain", { lane, step }),
    csv: () => ask("csv", {}),
    config: (lane, steps) => ask("config", { lane, steps }),
    crash: () => send({ type: "crash" }),
  };
}
