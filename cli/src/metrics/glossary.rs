//! Every metric that a run records, explained once: the report shows these sentences and `docs/metrics.md` lists them.

/// A metric's name, unit and meaning.
pub type Term = (&'static str, &'static str, &'static str);

/// The entry of [`GLOSSARY`] called `name`.
pub fn term(name: &str) -> Option<&'static Term> {
    GLOSSARY.iter().find(|(known, _, _)| *known == name)
}

/// The glossary as a Markdown table, the one in `docs/metrics.md`.
pub fn markdown_table() -> String {
    let mut table = String::from("| metric | unit | meaning |\n|---|---|---|\n");
    for (name, unit, meaning) in GLOSSARY {
        table += &format!("| `{name}` | {unit} | {} |\n", meaning.replace('|', "\\|"));
    }
    table
}

/// `(name, unit, meaning)` of every metric, in the order of a record. The unit `fraction` is shown as a percentage.
pub const GLOSSARY: &[Term] = &[
    ("step", "", "Number of training steps completed when the record was written; 0 is before the first."),
    (
        "loss",
        "",
        "The objective that is minimised; for FlowRL (1/B) Σ w δ², the weighted mean of the squared residual, which can rise while training works because the detached w grows where r̂ > 0.",
    ),
    ("reward_mean", "", "Mean raw reward r of the sampled completions, before any shaping."),
    ("reward_std", "", "Standard deviation of the raw reward over the batch."),
    ("success", "fraction", "Share of the sampled completions with a reward above 0."),
    (
        "degenerate_groups",
        "fraction",
        "Share of the prompts whose completions all got the same reward: under group rewards they say nothing about which answer is better.",
    ),
    (
        "residual_mean",
        "nats",
        "Mean of the residual δ = log Z + L/T − β r̂ − L_ref/T, which is 0 everywhere once the policy has reached the target.",
    ),
    (
        "residual_std",
        "nats",
        "Population standard deviation of the residual over the batch: what is left to learn once log Z fits.",
    ),
    ("residual_abs_max", "nats", "Largest |δ| in the batch; one bad sequence shows here first."),
    (
        "log_z_mean",
        "nats",
        "Mean estimate of log Z(x), the log of the target's normaliser; under group rewards it is close to 0 by construction, because Σ r̂ = 0 in every group.",
    ),
    ("log_z_std", "nats", "Standard deviation of the log Z estimates over the batch's prompts."),
    (
        "log_z_error",
        "nats",
        "Estimated log Z minus the best one for the current policy, Δ = Σ w δ / Σ w, in the lab minus the exact one; a positive error lengthens answers when the loss is length-normalised.",
    ),
    (
        "length_bias",
        "",
        "Length-bias monitor 2 Δ E[1/|y|], with Δ the log Z error: the pull of a wrong log Z on the answers' length, above 0 towards longer ones, below 0 towards shorter ones.",
    ),
    (
        "weight_mean",
        "",
        "Mean importance weight w, the ratio π/π_old after clipping; 1 when the samples come from the current policy.",
    ),
    ("weight_min", "", "Smallest importance weight in the batch, after clipping."),
    ("weight_max", "", "Largest importance weight in the batch, after clipping."),
    (
        "weight_ess",
        "fraction",
        "Effective sample size (Σ w)² / (B Σ w²): the share of the batch that still counts after weighting.",
    ),
    (
        "clip_fraction",
        "fraction",
        "Share of the importance weights (one per sequence, or per token where the objective has token ratios) that the clip bounds changed.",
    ),
    ("token_mask_fraction", "fraction", "Share of the tokens that the token mask dropped."),
    (
        "advantage_std",
        "",
        "Population standard deviation of the shaped reward r̂ (the advantage A of the baselines) over the batch.",
    ),
    (
        "ref_log_ratio",
        "nats",
        "Mean over tokens of the log-ratio log π − log π_ref: how far the samples have moved from the reference.",
    ),
    (
        "kl_ref",
        "nats",
        "Mean over completions of Σ (log π − log π_ref), on policy an unbiased estimate of KL(π ‖ π_ref) per completion; from few samples it can be negative.",
    ),
    (
        "old_log_ratio_max",
        "nats",
        "Largest |log π − log π_old| of a token in the batch: how far off policy the samples are.",
    ),
    ("value_loss", "", "PPO: ½(V − r)², averaged over the batch, of the value network."),
    (
        "first_ratio_deviation",
        "nats",
        "Largest |log π − log π_old| at the first update after sampling; exactly 0 proves that one engine samples and trains.",
    ),
    ("inverse_length_mean", "1/tokens", "Mean of 1/|y|, the quantity that a log Z error pushes on."),
    (
        "entropy_mean",
        "nats",
        "Mean entropy of the next-token distribution at the sampled positions; 0 means that the policy no longer hesitates.",
    ),
    (
        "excluded_mass",
        "fraction",
        "Mean probability of the tokens that are never drawn, because the tokenizer does not have them: rows that pad the embedding.",
    ),
    ("length_mean", "tokens", "Mean length of the completions, the end token included."),
    ("length_max", "tokens", "Longest completion in the batch."),
    ("truncated_fraction", "fraction", "Share of the completions that hit the length limit before their end token."),
    ("grad_norm", "", "L2 norm of the policy's gradient before clipping."),
    ("log_z_grad_norm", "", "L2 norm of the gradient of the log Z estimator before clipping."),
    ("learning_rate", "", "The policy's learning rate at this step."),
    (
        "skipped_updates",
        "updates",
        "Updates skipped so far because the gradient was not finite; anything but 0 needs a look.",
    ),
    ("tokens_per_s", "tokens/s", "Completion tokens sampled and trained on per second of the whole step."),
    ("trajectories", "", "Lab: trajectories sampled so far."),
    ("trajectories_per_s", "1/s", "Lab: trajectories sampled and trained on per second of the step."),
    ("step_s", "s", "Wall-clock time of the step."),
    ("sample_s", "s", "Part of the step spent sampling completions."),
    ("update_s", "s", "Part of the step spent scoring, differentiating and updating."),
    ("wall_s", "s", "Wall-clock time of all steps so far, without evaluations and checkpoints."),
    (
        "cpu_s",
        "s",
        "Processor time of all steps so far, user and system over all threads, without evaluations and checkpoints.",
    ),
    ("l1", "", "Lab, exact: Σ |π − π*| over all objects, between 0 and 2."),
    (
        "tv",
        "",
        "Lab, exact: total variation ½ Σ |π − π*| between the learned distribution over objects and the target π_ref·exp(βr)/Z, between 0 and 1.",
    ),
    ("kl", "nats", "Lab, exact: KL(π ‖ π*), what training on policy descends."),
    ("reverse_kl", "nats", "Lab, exact: KL(π* ‖ π), large where the policy lacks what the target has."),
    ("jsd", "nats", "Lab, exact: Jensen–Shannon divergence between π and π*, at most ln 2."),
    ("entropy", "nats", "Lab, exact: entropy of the learned distribution over objects."),
    ("expected_reward", "", "Lab, exact: mean raw reward E_π[r] of an object."),
    ("expected_length", "actions", "Lab, exact: mean number of actions of a trajectory, the last one included."),
    ("mode_mass", "fraction", "Lab, exact: probability that an object is one of the task's modes."),
    ("modes_found", "", "Lab, exact: modes with at least half of their probability under the target."),
    ("modes", "", "Lab: modes of the task."),
    (
        "tv_fixed_point",
        "",
        "Lab, exact: total variation to π_ref·exp(|x|(βr − c)), the target that a length-normalised loss converges to.",
    ),
    (
        "kl_to_reference",
        "nats",
        "Lab, exact: KL(π ‖ π_ref) over objects; on a graph, which has no reference policy, π_ref is uniform.",
    ),
    ("target_entropy", "nats", "Lab, exact: entropy of the target."),
    ("target_expected_reward", "", "Lab, exact: mean raw reward of the target."),
    ("target_kl_to_reference", "nats", "Lab, exact: KL(π* ‖ π_ref) of the target."),
    ("target_log_z", "nats", "Lab, exact: log Z of the target."),
    ("eval_success", "fraction", "Share of the completions sampled on held-out prompts that are correct."),
    (
        "eval_pass_at_1",
        "fraction",
        "Chance that one sample solves a held-out prompt, the unbiased estimate 1 − C(n−c, 1)/C(n, 1) from c correct of n samples.",
    ),
    ("eval_pass_at_4", "fraction", "Chance that at least one of 4 samples solves a held-out prompt."),
    ("eval_pass_at_8", "fraction", "Chance that at least one of 8 samples solves a held-out prompt."),
    ("eval_pass_at_16", "fraction", "Chance that at least one of 16 samples solves a held-out prompt."),
    (
        "eval_distinct_correct",
        "",
        "Different correct answers found per held-out prompt: what a collapsed policy loses.",
    ),
    ("eval_solutions", "", "Correct answers that exist per held-out prompt, found by enumeration."),
    (
        "eval_success_exact",
        "fraction",
        "Exact success probability π(C), the sum of π(y|x) over every correct answer, with no sampling error.",
    ),
    (
        "eval_success_target",
        "fraction",
        "Success probability of the exact target, π*(C) = e^β π_ref(C) / (1 + (e^β − 1) π_ref(C)).",
    ),
    ("eval_success_ref", "fraction", "Success probability π_ref(C) of the reference, where training starts."),
    (
        "eval_kl_on_correct",
        "nats",
        "Diversity lost, measured exactly: KL(π_ref(·|C) ‖ π(·|C)) among the correct answers, 0 for the target.",
    ),
    ("eval_log_z_error", "nats", "Estimated log Z minus the exact log Z on held-out prompts."),
    ("eval_entropy", "nats", "Mean entropy of the next-token distribution on held-out prompts."),
    ("eval_length_mean", "tokens", "Mean length of the completions on held-out prompts."),
];
