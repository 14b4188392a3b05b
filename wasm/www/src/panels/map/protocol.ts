import type { LaneKind } from "flowrl_wasm";

/** The β of each column. */
export const BETAS: readonly number[] = [0.5, 1, 1.5, 2.5, 4, 6, 10, 15, 25, 50];
/** The learning rate of each row, from the bottom up. */
export const RATES: readonly number[] = [0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2];
/** Runs of a map. */
export const CELLS = BETAS.length * RATES.length;

/** What all runs share. */
export interface Ground {
  readonly rewards: Float64Array;
  readonly reference: Float64Array;
  readonly side: number;
  readonly seed: number;
  readonly samples: number;
  readonly logZLearningRate: number;
  readonly steps: number;
}

/** One run: a method in a cell. */
export interface Run {
  readonly kind: LaneKind;
  readonly cell: number;
}

/** From the page to the worker. A start drops what came before it. */
export type MapCommand =
  | { readonly type: "start"; readonly number: number; readonly ground: Ground; readonly runs: readonly Run[] }
  | { readonly type: "go"; readonly going: boolean };

/** From the worker to the page: how a run ended, or why no further one can be made. */
export type MapMessage =
  | {
      readonly type: "result";
      /** Of the start that asked for it. */
      readonly number: number;
      readonly run: Run;
      /** KL(π ‖ π*); ∞ where learning broke down. */
      readonly kl: number;
      readonly found: number;
      readonly peaks: number;
    }
  | { readonly type: "failed"; readonly error: string };

/** The β and the learning rate of a cell. */
export const settingsOf = (cell: number): { beta: number; learningRate: number } => ({
  beta: BETAS[cell % BETAS.length] ?? NaN,
  learningRate: RATES[Math.floor(cell / BETAS.length)] ?? NaN,
});

/** The cell of exactly these settings, or −1. */
export function cellOf(beta: number, learningRate: number): number {
  const [column, row] = [BETAS.indexOf(beta), RATES.indexOf(learningRate)];
  return column < 0 || row < 0 ? -1 : row * BETAS.length + column;
}

/** All cells from coarse to fine: every fourth column and row first, then every second, then the rest. */
export function coarseToFine(columns: number, rows: number): number[] {
  const order = new Set<number>();
  for (const stride of [4, 2, 1]) {
    for (let row = 0; row < rows; row += stride) {
      for (let column = 0; column < columns; column += stride) order.add(row * columns + column);
    }
  }
  return [...order];
}
