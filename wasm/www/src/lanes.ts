import type { LaneKind } from "flowrl_wasm";

/** What the page says of a method. */
export interface LaneInfo {
  readonly name: string;
  /** One character that marks it where there is little room, and where colour alone would not do. */
  readonly mark: string;
  /** Whether what it converges to is the target. */
  readonly goal: "target" | "other target" | "best answer";
}

/** Every method, in the order in which the page lists them. */
export const LANES: Readonly<Record<LaneKind, LaneInfo>> = {
  flowrl: {
    name: "FlowRL",
    mark: "F",
    goal: "target",
  },
  grpo: {
    name: "GRPO",
    mark: "G",
    goal: "best answer",
  },
  ppo: {
    name: "PPO",
    mark: "O",
    goal: "best answer",
  },
  reinforce: {
    name: "REINFORCE",
    mark: "R",
    goal: "best answer",
  },
  "reward-kl": {
    name: "Reward + KL ⁄ β",
    mark: "K",
    goal: "target",
  },
  vargrad: {
    name: "VarGrad",
    mark: "V",
    goal: "target",
  },
  normalised: {
    name: "FlowRL ÷ length",
    mark: "L",
    goal: "other target",
  },
  published: {
    name: "FlowRL as published",
    mark: "P",
    goal: "best answer",
  },
};

/** The names of all methods. */
export const LANE_KINDS = Object.keys(LANES) as LaneKind[];
