import type { LaneKind } from "flowrl_wasm";

/** What the page says of a method. */
export interface LaneInfo {
  readonly name: string;
  /** One character that marks it where there is little room, and where colour alone would not do. */
  readonly mark: string;
  /** What it does with the reward, in one sentence. */
  readonly about: string;
  /** Whether what it converges to is the target. */
  readonly goal: "target" | "other target" | "best answer";
}

/** Every method, in the order in which the page lists them. */
export const LANES: Readonly<Record<LaneKind, LaneInfo>> = {
  flowrl: {
    name: "FlowRL",
    mark: "F",
    about: "Trajectory balance: every answer is pushed towards its share of the target. One learned number stands for log Z.",
    goal: "target",
  },
  grpo: {
    name: "GRPO",
    mark: "G",
    about: "Answers better than their batch become likelier, the others less likely, until only the best is left.",
    goal: "best answer",
  },
  ppo: {
    name: "PPO",
    mark: "O",
    about: "Compares with a learned value and takes four clipped steps a batch: the quickest to give up answers.",
    goal: "best answer",
  },
  reinforce: {
    name: "REINFORCE",
    mark: "R",
    about: "The plain policy gradient: reward minus the batch's mean.",
    goal: "best answer",
  },
  "reward-kl": {
    name: "Reward + KL ⁄ β",
    mark: "K",
    about: "REINFORCE with a penalty of 1⁄β for leaving the reference. Its optimum is FlowRL's target, by another road.",
    goal: "target",
  },
  vargrad: {
    name: "VarGrad",
    mark: "V",
    about: "FlowRL without a learned log Z: each batch estimates its own.",
    goal: "target",
  },
  normalised: {
    name: "FlowRL ÷ length",
    mark: "L",
    about: "FlowRL with the residual divided by the number of tokens. That has another target: here the same as twice the β.",
    goal: "other target",
  },
  published: {
    name: "FlowRL as published",
    mark: "P",
    about: "Also divides rewards by their spread within the batch. On graded rewards that raises β without end, so it keeps the best answer only.",
    goal: "best answer",
  },
};

/** The names of all methods. */
export const LANE_KINDS = Object.keys(LANES) as LaneKind[];
