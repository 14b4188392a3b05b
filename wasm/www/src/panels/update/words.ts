import type { LaneKind } from "flowrl_wasm";
import { formatNumber } from "../../charts";
import type { Update } from "../../engine/protocol";
import { SIDE } from "../../state";
import { decimals, percent } from "../../ui/format";
import { type Line, METHODS, type Value, judged } from "./methods";

/** A distinct answer of a batch. */
export interface Drawn {
  readonly answer: number;
  /** Its first sample. */
  readonly index: number;
  readonly times: number;
}

/** The distinct answers of a batch, from the lowest reward to the highest. */
export function drawn({ objects, rewards }: Update): Drawn[] {
  const found = new Map<number, { answer: number; index: number; times: number }>();
  objects.forEach((answer, index) => {
    const before = found.get(answer);
    if (before) before.times++;
    else found.set(answer, { answer, index, times: 1 });
  });
  return [...found.values()].sort((a, b) => rewards[a.index]! - rewards[b.index]! || a.answer - b.answer);
}

/** The steps of an update; what happens in it is the text `step-` and its name in lower case. */
export const STAGES = ["Sample", "Residual", "Gradient", "Move"] as const;

const count = (n: number, one: string, many: string) => `${n} ${n === 1 ? one : many}`;

/** A residual below it is a share that is right to half a percent. */
const SETTLED = 0.005;

/** What a step of the update did in a lane, in a sentence or two. */
export function told(kind: LaneKind, update: Update, stage: number, list: readonly Drawn[], picked: Drawn | undefined): string {
  const numbers = list.map(({ index }) => judged(kind, update, index));
  const [above, below] = [numbers.filter((x) => x > 0).length, numbers.filter((x) => x < 0).length];
  const { residual } = METHODS[kind];
  if (stage === 0) {
    const different = count(list.length, "different answer", "different answers");
    return `${different} among ${update.objects.length} samples.${list.length === 1 ? " There is nothing else left to draw." : ""}`;
  }
  if (stage === 1) {
    if (residual) return `${above} too likely, ${below} not likely enough. Reward alone decides nothing.`;
    if (above + below === 0) return "All rewards are equal: nothing to tell apart, so nothing to learn.";
    return `${above} better than expected, ${below} worse. How likely an answer is ${kind === "reward-kl" ? "counts, too" : "plays no part"}.`;
  }
  if (stage === 2) {
    if (!picked) return "The answer in the frame was not drawn here: no push.";
    const up = update.pushes[picked.index]! > 0;
    const way = up ? "up" : "down";
    const r = `The framed answer (r = ${decimals(update.rewards[picked.index]!, 2)})`;
    if (residual && Math.abs(judged(kind, update, picked.index)) < SETTLED) return `${r} has its share, as log Z stands: hardly any push is left.`;
    if (residual) return `${r} is pushed ${way}: it has ${up ? "less" : "more"} than its share, as log Z stands.`;
    const value = judged(kind, update, picked.index);
    if (value === 0) return up || update.pushes[picked.index] === 0 ? `${r} is not pushed.` : `${r} is pushed ${way} by the weak pull to the reference alone.`;
    return `${r} is pushed ${way}: it did ${value > 0 ? "better" : "worse"} than expected.`;
  }
  const way = update.logZAfter > update.logZBefore ? "rises" : "falls";
  const z = Number.isNaN(update.logZAfter) ? "" : ` log Z ${way}, to where residuals cancel.`;
  return picked ? `The framed answer goes from ${change(update, picked.answer)}.${z}` : z.trim();
}

/** π before → π after, in percent. */
export const change = ({ before, after }: Update, answer: number): string =>
  `${percent(before[answer]!, 2)} to ${percent(after[answer]!, 2)}`;

/** The line of numbers beside a formula, for each step. */
export function numbersOf(kind: LaneKind, update: Update, stage: number, picked: Drawn, { beta, target }: { beta: number; target: Float64Array }): Line {
  const { index, answer } = picked;
  const [row, column] = [Math.floor(answer / SIDE) + 1, (answer % SIDE) + 1];
  const times = picked.times > 1 ? `, drawn ${picked.times} times` : "";
  if (stage === 0) {
    return [`row ${row}, column ${column}${times}: r = ${decimals(update.rewards[index]!, 3)}, π = ${percent(update.before[answer]!, 2)}, π* = ${percent(target[answer]!, 2)}`];
  }
  const value = judged(kind, update, index);
  if (stage === 1) return ["= ", ...METHODS[kind].numbers({ update, index, beta }), ` = ${formatNumber(value, 3)}`];
  const push = update.pushes[index]!;
  if (stage === 2) {
    const B = update.objects.length;
    const perSample = kind === "flowrl" || kind === "vargrad" ? B : `(2 × ${B})`;
    return ["= ", ...pushed(kind, value, 2 * B * push), ` ⁄ ${perSample} = ${formatNumber(push, 2)} ${arrow(push)}`];
  }
  const z = Number.isNaN(update.logZAfter) ? "" : `, log Z: ${decimals(update.logZBefore, 3)} to ${decimals(update.logZAfter, 3)}`;
  return [`π(y): ${change(update, answer)}${z}`];
}

const bracket = (x: number) => (x < 0 ? `(${formatNumber(x, 3)})` : formatNumber(x, 3));
/** What stands above the fraction of a push; `all` is its value. */
function pushed(kind: LaneKind, value: number, all: number): Line {
  if (METHODS[kind].residual) return ["−2 × ", ["residual", bracket(value)]];
  const advantage: Value = ["advantage", bracket(value)];
  if (kind !== "grpo") return [advantage];
  // What the advantage does not make of the push is the pull to the reference. A batch is used once, by the policy that drew it.
  const pull = all - value;
  return ["(", ["ratio", "1"], " × ", advantage, " ", ["kl", `${pull < 0 ? "−" : "+"} ${decimals(Math.abs(pull), 3)}`], ")"];
}
const arrow = (push: number) => (push > 0 ? "↑" : push < 0 ? "↓" : "");
