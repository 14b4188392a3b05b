import type { LaneKind } from "flowrl_wasm";

/** What the page says of a method. */
export interface LaneInfo {
  readonly name: string;
  /** One character that marks it where there is little room, and where colour alone would not do. */
  readonly mark: string;
}

/** Every method, in the order in which the page lists them. */
export const LANES: Readonly<Record<LaneKind, LaneInfo>> = {
  flowrl: { name: "FlowRL", mark: "F" },
  grpo: { name: "GRPO", mark: "G" },
  ppo: { name: "PPO", mark: "O" },
  reinforce: { name: "REINFORCE", mark: "R" },
  "reward-kl": { name: "Reward + KL ⁄ β", mark: "K" },
  vargrad: { name: "VarGrad", mark: "V" },
  normalised: { name: "FlowRL ÷ length", mark: "L" },
  published: { name: "FlowRL as published", mark: "P" },
};

/** The names of all methods. */
export const LANE_KINDS = Object.keys(LANES) as LaneKind[];
