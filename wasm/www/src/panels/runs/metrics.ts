/** The families of metrics, in the order in which they are offered; the first that fits takes a name. */
const FAMILIES: readonly (readonly [string, RegExp])[] = [
  ["On held-out prompts", /^eval_/],
  ["Distance to the target", /^(kl|reverse_kl|tv|l1|jsd|tv_fixed_point|kl_fixed_point)$/],
  ["Diversity", /^(entropy|entropy_mean|mode_mass|modes_found|modes)$/],
  ["Reward", /^(reward|success|degenerate|expected_reward)/],
  ["The target itself", /^target_/],
  ["Loss and residual", /loss|^residual/],
  ["log Z", /log_z/],
  ["Weights and ratios", /^(weight|clip|token_mask|advantage|ref_|kl_|old_|first_ratio)/],
  ["Length", /length|truncated/],
  ["Optimiser", /grad_norm|learning_rate|skipped/],
  ["Time", /_s$|trajectories/],
];

const OTHER = "Other";

/** What is looked at first, if it is there. */
const FIRST = ["kl", "eval_success_exact", "eval_success", "success", "reward_mean", "loss"];

/** The metrics of some runs by family; families without any are left out. */
export function families(names: Iterable<string>): [string, string[]][] {
  const all = [...FAMILIES.map(([family]) => family), OTHER];
  const found = new Map<string, string[]>(all.map((family) => [family, []]));
  for (const name of new Set(names))
    found.get(FAMILIES.find(([, fits]) => fits.test(name))?.[0] ?? OTHER)?.push(name);
  return [...found].filter(([, list]) => list.length > 0);
}

/** The metric to begin with. */
export function firstMetric(names: readonly string[]): string {
  return FIRST.find((name) => names.includes(name)) ?? names[0] ?? "";
}
