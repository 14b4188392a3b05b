import type { LaneKind } from "flowrl_wasm";
import type { Update } from "../../engine/protocol";
import { decimals, significant } from "../../ui/format";

/** Tokens of an answer: its row and its column. */
const TOKENS = 2;

/** How a method judges an answer. */
export interface Method {
  /** The formulae, after `update-`: the pieces of the judgement, δ or A, and the push. */
  readonly judgement: readonly string[];
  readonly push: string;
  /** Whether the judgement is a residual δ, which has to vanish; else it is an advantage A. */
  readonly residual: boolean;
  /** The right-hand side of the judgement, in numbers. */
  readonly numbers: (sample: Sample) => Line;
}

/** A number with the name of the term that it is the value of: `term-…` in the formulae. */
export type Value = readonly [term: string, text: string];
/** Numbers in a row, and what is written between them. */
export type Line = readonly (string | Value)[];

/** A line as text. */
export const plain = (line: Line): string => line.map((part) => (typeof part === "string" ? part : part[1])).join("");

/** A sample of an update, with what it is judged by. */
export interface Sample {
  readonly update: Update;
  readonly index: number;
  readonly beta: number;
}

const three = (x: number) => decimals(x, 3);
/** A term with its sign, after another. */
const plus = (x: number) => (x < 0 ? `− ${three(-x)}` : `+ ${three(x)}`);
const average = (list: Float64Array) => list.reduce((sum, x) => sum + x, 0) / list.length;

const logZ = ({ update }: Sample): Value => ["z", three(update.logZBefore)];
const reference = ({ update, index }: Sample): Value => ["reference", plus(-update.refLogProbs[index]!)];
const score = ({ update, index, beta }: Sample): Value => ["score", `− ${significant(beta, 3)} × ${three(update.rewards[index]!)}`];
const reward = ({ update, index }: Sample): Value => ["reward", three(update.rewards[index]!)];
/** log π − log π_ref. */
const ratio = (s: Sample): Line => [["policy", three(s.update.logProbs[s.index]!)], " ", reference(s)];
const perToken = (s: Sample): Line => [logZ(s), " + (", ...ratio(s), `) ⁄ ${TOKENS} `];
const centred = (s: Sample): Line => [reward(s), " ", ["mean", plus(-average(s.update.rewards))]];

/** The spread that the batch's rewards are divided by, from a sample that is not at their mean. */
function spread({ rewards, advantages }: Update): number {
  const mean = average(rewards);
  const at = advantages.findIndex((a) => a !== 0);
  return at < 0 ? 0 : (rewards[at]! - mean) / advantages[at]!;
}

/** By group: `(r − mean) ⁄ σ`; all rewards equal give 0. */
const standardised = (sample: Sample): Line => {
  const sigma = spread(sample.update);
  return sigma === 0 ? ["0"] : ["(", ...centred(sample), ") ⁄ ", ["spread", three(sigma)]];
};

const BALANCE: Method = {
  judgement: ["delta", "ratio", "score"],
  push: "push-balance",
  residual: true,
  numbers: (s) => [logZ(s), " ", ["policy", plus(s.update.logProbs[s.index]!)], " ", reference(s), " ", score(s)],
};
const LENGTH: Method = {
  ...BALANCE,
  judgement: ["delta", "ratio-length", "score"],
  push: "push-length",
  numbers: (s) => [...perToken(s), score(s)],
};
const MEAN_ONLY: Method = {
  judgement: ["mean"],
  push: "push",
  residual: false,
  numbers: centred,
};

/** Every method. */
export const METHODS: Readonly<Record<LaneKind, Method>> = {
  flowrl: BALANCE,
  vargrad: BALANCE,
  normalised: LENGTH,
  published: {
    ...LENGTH,
    judgement: ["delta", "ratio-length", "score-group"],
    numbers: (s) => [...perToken(s), `− ${significant(s.beta, 3)} × `, ...standardised(s)],
  },
  grpo: {
    ...MEAN_ONLY,
    judgement: ["group"],
    push: "push-leash",
    numbers: standardised,
  },
  ppo: {
    ...MEAN_ONLY,
    judgement: ["value"],
    numbers: (s) => [reward(s), " ", ["value", plus(s.update.advantages[s.index]! - s.update.rewards[s.index]!)]],
  },
  reinforce: MEAN_ONLY,
  "reward-kl": {
    ...MEAN_ONLY,
    judgement: ["mean", "penalty"],
    numbers: (s) => [...centred(s), " ", ["penalty", `− (${plain(ratio(s))}) ⁄ ${significant(s.beta, 3)}`]],
  },
};

/** δ or A of a sample. */
export function judged(kind: LaneKind, update: Update, index: number): number {
  if (METHODS[kind].residual) return update.residuals[index]!;
  // The penalty is not part of the module's advantages, but of its pushes.
  return kind === "reward-kl" ? update.pushes[index]! * TOKENS * update.objects.length : update.advantages[index]!;
}
