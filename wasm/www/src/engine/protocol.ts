import type { LaneKind } from "flowrl_wasm";

/** How a race starts. */
export interface Setup {
  readonly rewards: Float64Array;
  readonly reference: Float64Array;
  readonly side: number;
  readonly beta: number;
  readonly seed: number;
  readonly samples: number;
  readonly learningRate: number;
  readonly logZLearningRate: number;
  readonly lanes: readonly LaneKind[];
}

/** One update of a lane, taken apart; see `Explanation` of the module. */
export interface Update {
  /** Steps done before it. */
  readonly step: number;
  readonly objects: Uint32Array;
  readonly rewards: Float64Array;
  readonly logProbs: Float64Array;
  readonly refLogProbs: Float64Array;
  readonly advantages: Float64Array;
  readonly residuals: Float64Array;
  readonly pushes: Float64Array;
  readonly loss: number;
  readonly logZBefore: number;
  readonly logZAfter: number;
  readonly before: Float64Array;
  readonly after: Float64Array;
}

/** What the page asks for and gets an answer to, by name. */
export interface Questions {
  explain: { ask: { lane: LaneKind; step: number | undefined }; answer: Update };
  csv: { ask: Record<never, never>; answer: string };
  config: { ask: { lane: LaneKind; steps: number }; answer: string };
  fork: { ask: { step: number }; answer: number };
}
export type Question = keyof Questions;

/** From the page to the worker. A start ends the race before it. */
export type Command =
  | { readonly type: "start"; readonly number: number; readonly setup: Setup; readonly saved: Uint8Array | null }
  | { readonly type: "play"; readonly playing: boolean }
  | { readonly type: "step"; readonly steps: number }
  | { readonly type: "speed"; readonly speed: number }
  | { readonly type: "beta"; readonly beta: number }
  | { readonly type: "rate"; readonly learningRate: number }
  | { readonly type: "landscape"; readonly rewards: Float64Array; readonly reference: Float64Array }
  /** Show the past; null goes back to now. */
  | { readonly type: "show"; readonly step: number | null }
  /** Makes the module trap: for tests of what happens then. */
  | { readonly type: "crash" }
  | { readonly type: "ask"; readonly id: number; readonly question: Question; readonly ask: object };

/** Which start of a race a message is about: that of one which has ended since may still be under way. */
interface OfRace {
  readonly number: number;
}

/** From the worker to the page. */
export type Message =
  | ({ readonly type: "started"; readonly measures: readonly string[] } & OfRace)
  | ({
      readonly type: "frame";
      /** The step of what is shown. */
      readonly shown: number;
      readonly step: number;
      readonly frame: Float32Array;
      /** Records from number `from` on; 0 replaces all. */
      readonly from: number;
      readonly records: Float64Array;
      readonly snapshots: Float64Array;
      /** Updates a second, lately. */
      readonly rate: number;
    } & OfRace)
  | ({ readonly type: "saved"; readonly step: number; readonly bytes: Uint8Array } & OfRace)
  | { readonly type: "answer"; readonly id: number; readonly answer?: unknown; readonly error?: string }
  | { readonly type: "failed"; readonly error: string; readonly trapped: boolean };
