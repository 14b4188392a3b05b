import type { LaneKind } from "flowrl_wasm";
import type { Update } from "../../engine/protocol";
import { decimals, significant } from "../../ui/format";

const delta = "update-delta";
const group = "update-group";
const mean = "update-mean";
const penalty = "update-penalty";
const push = "update-push";
const pushBalance = "update-push-balance";
const pushLeash = "update-push-leash";
const pushLength = "update-push-length";
const logRatio = "update-ratio";
const logRatioByLength = "update-ratio-length";
const score = "update-score";
const scoreInGroup = "update-score-group";
const value = "update-value";

/** Tokens of an answer: its row and its column. */
const TOKENS = 2;

/** How a method judges an answer. */
export interface Method {
  /** MathML of the judgement, δ or A, and of the push. */
  readonly judgement: string;
  readonly push: string;
  /** Whether the judgement is a residual δ, which has to vanish; else it is an advantage A. */
  readonly residual: boolean;
  /** The right-hand side of the judgement, in numbers. */
  readonly numbers: (sample: Sample) => string;
  /** What the symbols mean. */
  readonly symbols: string;
}

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

/** log π − log π_ref. */
const ratio = ({ update, index }: Sample) => `${three(update.logProbs[index]!)} ${plus(-update.refLogProbs[index]!)}`;
const perToken = (s: Sample) => `${three(s.update.logZBefore)} + (${ratio(s)}) ⁄ ${TOKENS}`;
const scored = ({ update, index, beta }: Sample) => `− ${significant(beta, 3)} × ${three(update.rewards[index]!)}`;
const centred = ({ update, index }: Sample) => `${three(update.rewards[index]!)} ${plus(-average(update.rewards))}`;

/** The spread that the batch's rewards are divided by, from a sample that is not at their mean. */
function spread({ rewards, advantages }: Update): number {
  const mean = average(rewards);
  const at = advantages.findIndex((a) => a !== 0);
  return at < 0 ? 0 : (rewards[at]! - mean) / advantages[at]!;
}

/** By group: `(r − mean) ⁄ σ`; all rewards equal give 0. */
const standardised = (sample: Sample) => {
  const sigma = spread(sample.update);
  return sigma === 0 ? "0" : `(${centred(sample)}) ⁄ ${three(sigma)}`;
};

const START = "π_ref is the reference, r the reward. ";
const MEAN = "r̄ is the batch's mean reward";

const BALANCE: Method = {
  judgement: delta + logRatio + score,
  push: pushBalance,
  residual: true,
  numbers: (s) => `${three(s.update.logZBefore)} ${plus(s.update.logProbs[s.index]!)} ${plus(-s.update.refLogProbs[s.index]!)} ${scored(s)}`,
  symbols: `${START}log Z is one learned number, B the number of samples.`,
};
const LENGTH: Method = {
  ...BALANCE,
  judgement: delta + logRatioByLength + score,
  push: pushLength,
  numbers: (s) => `${perToken(s)} ${scored(s)}`,
  symbols: `${START}|y| = 2 tokens, B samples. π* is here its own target, as of twice the β.`,
};
const MEAN_ONLY: Method = {
  judgement: mean,
  push,
  residual: false,
  numbers: centred,
  symbols: `${MEAN}, |y| = 2 tokens, B samples.`,
};

/** Every method. */
export const METHODS: Readonly<Record<LaneKind, Method>> = {
  flowrl: BALANCE,
  vargrad: { ...BALANCE, symbols: `${START}log Z is what the batch itself gives: the mean of the other terms.` },
  normalised: LENGTH,
  published: {
    ...LENGTH,
    judgement: delta + logRatioByLength + scoreInGroup,
    numbers: (s) => `${perToken(s)} − ${significant(s.beta, 3)} × ${standardised(s)}`,
    symbols: `${START}${MEAN}, σ its spread, |y| = 2 tokens. What it asks for is sharper than π*, FlowRL's target.`,
  },
  grpo: {
    ...MEAN_ONLY,
    judgement: group,
    push: pushLeash,
    numbers: standardised,
    symbols: `${MEAN}, σ its spread, |y| = 2 tokens. k is a weak pull back to the reference.`,
  },
  ppo: {
    ...MEAN_ONLY,
    judgement: value,
    numbers: ({ update, index }) => `${three(update.rewards[index]!)} ${plus(update.advantages[index]! - update.rewards[index]!)}`,
    symbols: "V is a learned guess of the reward, |y| = 2 tokens, B samples. PPO goes over a batch four times; this is the first.",
  },
  reinforce: MEAN_ONLY,
  "reward-kl": {
    ...MEAN_ONLY,
    judgement: mean + penalty,
    numbers: (s) => `${centred(s)} − (${ratio(s)}) ⁄ ${significant(s.beta, 3)}`,
    symbols: `${MEAN}, |y| = 2 tokens, B samples. What is common to all answers moves nothing on average.`,
  },
};

/** δ or A of a sample. */
export function judged(kind: LaneKind, update: Update, index: number): number {
  if (METHODS[kind].residual) return update.residuals[index]!;
  // The penalty is not part of the module's advantages, but of its pushes.
  return kind === "reward-kl" ? update.pushes[index]! * TOKENS * update.objects.length : update.advantages[index]!;
}
