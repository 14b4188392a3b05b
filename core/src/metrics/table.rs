//! The rows of the table of metrics.

use super::Better::{self, Closer, Down, Neither, Up};
use super::{Chapter, Chart, Metric, Rank, Source, Target};

const INFINITE: f64 = f64::INFINITY;
const ZERO: Option<Target> = Some(Target::Zero);

/// Every metric by subject, in the order of a report.
#[rustfmt::skip] // A row is a line, or two.
pub const CHAPTERS: &[Chapter] = &[
    Chapter {
        title: "Distance to the target",
        lead: "The exact distribution of the policy over all objects, computed by dynamic programming, compared with the target π_ref·exp(βr)/Z.",
        metrics: &[
            exact("tv", "Total variation", "", "Total variation ½ Σ |π − π*| between policy and target: the share of probability in the wrong place.")
                .within(0.0, 1.0).goal(Down, ZERO).log().rank(Rank::Headline),
            exact("tv_fixed_point", "Total variation, length-normalised", "", "Total variation to π_ref·exp(|x|(βr − c)), the distribution that a length-normalised loss converges to.")
                .within(0.0, 1.0).on("tv"),
            exact("kl", "KL(π ‖ π*)", "nats", "KL divergence of the policy from the target, weighted by the policy's probabilities, which on-policy training minimises.")
                .least(0.0).goal(Down, ZERO).log().rank(Rank::Compared),
            exact("reverse_kl", "KL(π* ‖ π)", "nats", "KL divergence of the target from the policy, weighted by the target's probabilities, so that a lost mode costs much.")
                .least(0.0).goal(Down, ZERO).log().on("kl").rank(Rank::Compared),
            exact("kl_fixed_point", "KL to the fixed point", "nats", "Browser: KL divergence of the policy from the distribution that its own objective converges to.")
                .least(0.0).goal(Down, ZERO).log().on("kl"),
            exact("jsd", "Jensen–Shannon divergence", "nats", "Jensen–Shannon divergence between policy and target, at most ln 2.")
                .within(0.0, core::f64::consts::LN_2).goal(Down, ZERO).log(),
            exact("l1", "L1 distance", "", "Σ |π − π*| over all objects, twice the total variation.").within(0.0, 2.0).goal(Down, ZERO).log(),
            exact("entropy", "Entropy", "nats", "Entropy of the policy's distribution over objects: how evenly it spreads.")
                .least(0.0).goal(Closer, metric("target_entropy")).rank(Rank::Headline),
            exact("expected_reward", "Expected reward", "", "Mean raw reward E_π[r] of an object; a policy with more reward than the target has given up diversity for it.")
                .goal(Closer, metric("target_expected_reward")).rank(Rank::Headline),
            exact("kl_to_reference", "KL(π ‖ π_ref)", "nats", "KL divergence of the policy from the reference over objects; on a graph, which has no reference policy, π_ref is uniform.")
                .least(0.0).goal(Closer, metric("target_kl_to_reference")).rank(Rank::Compared),
            exact("modes_found", "Modes found", "", "Number of modes, the peaks of the reward, whose probability is at least half of that under the target.")
                .least(0.0).goal(Up, metric("modes")).rank(Rank::Headline),
            exact("mode_mass", "Probability of the modes", "fraction", "Probability that an object is one of the task's modes.").within(0.0, 1.0),
            exact("expected_length", "Expected length", "actions", "Mean number of actions of a trajectory, including the last one.").least(0.0),
            exact("modes", "Modes", "", "Number of modes of the task.").least(0.0).hidden(),
            exact("target_entropy", "Entropy of the target", "nats", "Entropy of the target.").least(0.0).hidden(),
            exact("target_expected_reward", "Expected reward of the target", "", "Mean raw reward of the target.").hidden(),
            exact("target_kl_to_reference", "KL(π* ‖ π_ref)", "nats", "KL divergence of the target from the reference.").least(0.0).hidden(),
            exact("target_log_z", "log Z of the target", "nats", "Exact log Z of the target.").hidden(),
        ],
    },
    Chapter {
        title: "Held-out prompts",
        lead: "Evaluated on held-out prompts during the run. If the correct answers can be enumerated, exact measures stand next to the sampled ones.",
        metrics: &[
            exact("eval_success_exact", "Success, exact", "fraction", "Exact success probability π(C), the sum of π(y|x) over every correct answer, without sampling error.").within(0.0, 1.0)
                .goal(Up, metric("eval_success_target")).rank(Rank::Headline),
            held_out("eval_success", "Success, sampled", "fraction", "Share of the completions sampled on held-out prompts that are correct.").within(0.0, 1.0)
                .goal(Up, metric("eval_success_target")).on("eval_success_exact").rank(Rank::Headline),
            pass("eval_success_greedy", "Success, greedy", "Share of the held-out prompts that greedy decoding, at temperature 0, solves.").on("eval_success_exact"),
            held_out("eval_pass_at_1", "Pass@1", "fraction", "Probability that one sample solves a held-out prompt, the unbiased estimate 1 − C(n−c, k)/C(n, k) from c correct ones of n samples.").within(0.0, 1.0)
                .goal(Up, None),
            pass("eval_pass_at_2", "Pass@2", "Probability that at least one of 2 samples solves a held-out prompt."),
            pass("eval_pass_at_4", "Pass@4", "Probability that at least one of 4 samples solves a held-out prompt."),
            pass("eval_pass_at_8", "Pass@8", "Probability that at least one of 8 samples solves a held-out prompt.").rank(Rank::Headline),
            pass("eval_pass_at_16", "Pass@16", "Probability that at least one of 16 samples solves a held-out prompt."),
            pass("eval_pass_at_32", "Pass@32", "Probability that at least one of 32 samples solves a held-out prompt."),
            pass("eval_pass_at_64", "Pass@64", "Probability that at least one of 64 samples solves a held-out prompt."),
            pass("eval_pass_at_128", "Pass@128", "Probability that at least one of 128 samples solves a held-out prompt."),
            pass("eval_majority", "Majority vote", "Share of the held-out prompts whose most frequent answer is correct; equally frequent ones count by their share of correct ones.")
                .on("eval_success_exact").rank(Rank::Compared),
            held_out("eval_distinct_correct", "Distinct correct answers", "", "Number of different correct answers found per held-out prompt, which falls if the policy collapses.")
                .least(0.0).goal(Up, metric("eval_solutions")).rank(Rank::Headline),
            exact("eval_kl_on_correct", "Diversity lost", "nats", "KL(π_ref(·|C) ‖ π(·|C)) among the correct answers, 0 for the target.")
                .least(0.0).goal(Down, ZERO).rank(Rank::Headline),
            exact("eval_log_z_error", "log Z error, held out", "nats", "Mean distance of the estimated log Z from the exact one over held-out prompts.")
                .least(0.0).goal(Down, ZERO),
            held_out("eval_entropy", "Entropy per token, held out", "nats", "Mean entropy of the next-token distribution on held-out prompts.")
                .least(0.0).rank(Rank::Compared),
            held_out("eval_length_mean", "Completion length, held out", "tokens", "Mean length of the completions on held-out prompts.").least(0.0),
            exact("eval_left_out", "Held-out completions left out", "completions", "Held-out completions without a reward, which success, pass@k, votes and distinct answers leave out.").least(0.0),
            exact("eval_prompts", "Held-out prompts", "", "Number of held-out prompts in the evaluation.").least(0.0).hidden(),
            exact("eval_samples", "Completions of a held-out prompt", "", "Number of completions sampled for each held-out prompt.").least(0.0).hidden(),
            exact("eval_solutions", "Correct answers that exist", "", "Number of correct answers that exist per held-out prompt, found by enumeration.").least(0.0).hidden(),
            exact("eval_success_target", "Success of the target", "fraction", "Success probability of the exact target, π*(C) = e^β π_ref(C) / (1 + (e^β − 1) π_ref(C)).").within(0.0, 1.0).hidden(),
            exact("eval_success_ref", "Success of the reference", "fraction", "Success probability π_ref(C) of the reference, at which training starts.").within(0.0, 1.0).hidden(),
        ],
    },
    Chapter {
        title: "Reward and success",
        lead: "The rewards of the sampled completions.",
        metrics: &[
            batch("reward_mean", "Reward", "", "Mean raw reward r of the sampled completions, before any shaping.").goal(Up, None).rank(Rank::Compared),
            batch("reward_std", "Standard deviation of the reward", "", "Standard deviation of the raw reward over the batch.")
                .least(0.0).chart(Chart::Spread("reward_mean")),
            batch("success", "Success in training", "fraction", "Share of the sampled completions with a reward above 0.").within(0.0, 1.0).goal(Up, None).rank(Rank::Compared),
            batch("degenerate_groups", "Groups of equal rewards", "fraction", "Share of the prompts whose completions all got the same reward; under group rewards, such prompts do not show which answer is better.").within(0.0, 1.0),
            batch("left_out", "Completions left out", "completions", "Completions of the step without a reward, of which nothing is learned.").least(0.0).goal(Down, ZERO),
            batch("judge_failures", "Failed judgements", "completions", "Completions that the verifier's workers failed to judge: they ran out of time, crashed or answered nonsense.").least(0.0).goal(Down, ZERO),
            batch("judge_restarts", "Restarted workers", "restarts", "Workers of the verifier that were started again during the step.").least(0.0).goal(Down, ZERO),
            batch("overlong_penalty", "Soft overlong penalty", "", "Mean soft overlong penalty, which was subtracted from the raw reward before learning.").least(0.0),
            batch("sampled_groups", "Sampled groups", "groups", "Prompts whose completions this step sampled, over all batches of dynamic sampling.").source(Source::Exact).least(0.0),
            batch("learned_groups", "Learned groups", "groups", "Sampled prompts that the step learned from, at most train.prompts; the others had groups of equal rewards or exceeded that number.")
                .source(Source::Exact).least(0.0).on("sampled_groups"),
            batch("advantage_std", "Spread of the shaped reward", "", "Population standard deviation of the shaped reward r̂ (the advantage A of the baselines) over the batch.").least(0.0),
        ],
    },
    Chapter {
        title: "Residual and loss",
        lead: "How far the policy is from satisfying the balance condition: the residual is 0 everywhere at the target.",
        metrics: &[
            batch("loss", "Loss", "", "The objective that is minimised; for FlowRL, this is (1/B) Σ w δ², the weighted mean of the squared residual, which can rise while training works because the detached w grows if r̂ > 0.").log(),
            batch("residual_mean", "Residual", "nats", "Mean of the residual δ = log Z + L/T − β r̂ − L_ref/T, which is 0 everywhere once the policy has reached the target.").goal(Closer, ZERO),
            batch("residual_std", "Standard deviation of the residual", "nats", "Population standard deviation of the residual over the batch: the error that remains once log Z fits.")
                .least(0.0).goal(Down, ZERO).chart(Chart::Spread("residual_mean")),
            batch("residual_abs_max", "Largest residual", "nats", "Largest |δ| in the batch, where a single bad sequence shows first.").least(0.0).goal(Down, ZERO).log(),
            batch("value_loss", "Value loss", "", "PPO: ½(V − r)² of the value network, averaged over the batch.").least(0.0).goal(Down, ZERO).log(),
        ],
    },
    Chapter {
        title: "log Z",
        lead: "The estimate of log Z. Under group rewards it stays close to 0 by construction, and only its error matters.",
        metrics: &[
            batch("log_z_mean", "Mean log Z", "nats", "Mean estimate of log Z(x), the log of the target's normaliser; under group rewards it is close to 0 by construction, because Σ r̂ = 0 in every group.")
                .goal(Neither, metric("target_log_z")),
            batch("log_z_std", "Standard deviation of log Z", "nats", "Standard deviation of the log Z estimates over the batch's prompts.").least(0.0).chart(Chart::Spread("log_z_mean")),
            batch("log_z_error", "log Z error", "nats", "Estimated log Z minus the best one for the current policy, Δ = Σ w δ / Σ w, or in the lab minus the exact one; a positive error lengthens answers if the loss is length-normalised.")
                .goal(Closer, ZERO).rank(Rank::Compared),
            exact("log_z", "log Z", "nats", "Browser: the learned log Z, for methods that learn it as one number.").goal(Closer, metric("target_log_z")).rank(Rank::Compared),
        ],
    },
    Chapter {
        title: "Importance weights and clipping",
        lead: "How much the samples are reweighted because the policy has moved since they were drawn.",
        metrics: &[
            batch("weight_mean", "Importance weight", "", "Mean importance weight w, the ratio π/π_old after clipping; 1 if the samples come from the current policy.").least(0.0).log(),
            batch("weight_min", "Smallest importance weight", "", "Smallest importance weight in the batch, after clipping.").least(0.0).chart(Chart::Low("weight_mean")),
            batch("weight_max", "Largest importance weight", "", "Largest importance weight in the batch, after clipping.").least(0.0).chart(Chart::High("weight_mean")),
            batch("weight_ess", "Effective sample size", "fraction", "Effective sample size (Σ w)² / (B Σ w²): the share of the batch that still counts after weighting.").within(0.0, 1.0),
            batch("clip_fraction", "Clipped weights", "fraction", "Share of the importance weights (one per sequence, or per token if the objective has token ratios) that the clip bounds changed.").within(0.0, 1.0),
            batch("token_mask_fraction", "Masked tokens", "fraction", "Share of the tokens that the token mask dropped.").within(0.0, 1.0).on("clip_fraction"),
            batch("masked_sequences", "Masked completions", "fraction", "Share of the completions that the masks of the objective left out of the loss.").within(0.0, 1.0).on("clip_fraction"),
            batch("rollout_drift", "Drift of the rollout engine", "nats", "Mean |log π_old − log π_rollout| of a token: how far the engine that sampled is from the one that trains.").least(0.0).log(),
            batch("rollout_clip_fraction", "Bounded rollout weights", "fraction", "Share of the rollout weights π_old/π_rollout (one per token or per sequence, depending on rollout_correction) that are beyond their bounds.")
                .within(0.0, 1.0).on("clip_fraction"),
            batch("outlier_tokens", "Outlier tokens", "fraction", "Share of the tokens whose log-ratio π/π_old is beyond ±20: they have no gradient.").within(0.0, 1.0),
            batch("token_gradient_share", "Largest token's share of the gradient", "fraction", "Largest |∂loss/∂log π| of a token of the update, as a share of the sum over all tokens; near 1 a single token decides the update.").within(0.0, 1.0),
            batch("old_log_ratio_max", "Off-policy drift", "nats", "Largest |log π − log π_old| of a token in the batch: how far off policy the samples are.").least(0.0).log(),
            batch("first_ratio_deviation", "Off-policy drift at the first update", "nats", "Largest |log π − log π_old| at the first update after sampling; exactly 0 proves that one engine samples and trains.")
                .least(0.0).goal(Down, ZERO),
        ],
    },
    Chapter {
        title: "Entropy and distance to the reference",
        lead: "Whether the policy still explores, and how far it has moved.",
        metrics: &[
            batch("entropy_mean", "Entropy per token", "nats", "Mean entropy of the next-token distribution at the sampled positions; 0 means that the policy no longer hesitates.")
                .least(0.0).rank(Rank::Compared),
            batch("kl_capped", "Capped KL estimates", "fraction", "Share of the tokens whose KL estimate k3 is at its bound kl_max: that term has no gradient there.").within(0.0, 1.0),
            batch("kl_ref", "KL to the reference, sampled", "nats", "Mean over completions of Σ (log π − log π_ref); on policy, this is an unbiased estimate of KL(π ‖ π_ref) per completion, which can be negative with few samples.")
                .rank(Rank::Compared),
            batch("ref_log_ratio", "Log-ratio to the reference", "nats", "Mean over tokens of log π − log π_ref: how far the samples have moved from the reference."),
            batch("excluded_mass", "Probability of excluded tokens", "fraction", "Mean probability of the tokens that are never drawn because the tokenizer lacks them: rows that pad the embedding.").within(0.0, 1.0),
        ],
    },
    Chapter {
        title: "Lengths",
        lead: "Length normalisation makes the length of answers part of the objective, so watch these metrics.",
        metrics: &[
            batch("length_mean", "Completion length", "tokens", "Mean length of the completions, including the end token.").least(0.0).rank(Rank::Compared),
            batch("length_max", "Longest completion", "tokens", "Longest completion in the batch.").least(0.0).on("length_mean"),
            batch("length_bias", "Length bias", "", "2 Δ E[1/|y|], with the log Z error Δ: the effect of a wrong log Z on the length of answers, which become longer if it is above 0 and shorter if it is below 0.").goal(Closer, ZERO),
            batch("inverse_length_mean", "Mean inverse length", "1/tokens", "Mean of 1/|y|, the quantity on which a log Z error acts.").within(0.0, 1.0),
            batch("truncated_fraction", "Truncated completions", "fraction", "Share of the completions that hit the length limit before their end token.").within(0.0, 1.0),
        ],
    },
    Chapter {
        title: "Gradient and learning rate",
        lead: "The size of each update.",
        metrics: &[
            batch("grad_norm", "Gradient norm", "", "L2 norm of the policy's gradient before clipping.").least(0.0).log().rank(Rank::Compared),
            batch("log_z_grad_norm", "Gradient norm of log Z", "", "L2 norm of the gradient of the log Z estimator before clipping.").least(0.0).log(),
            batch("learning_rate", "Learning rate", "", "The policy's learning rate at this step.").source(Source::Exact).least(0.0),
            batch("skipped_updates", "Skipped updates", "updates", "Updates skipped so far because the gradient was not finite; any value but 0 needs attention.")
                .source(Source::Exact).least(0.0).goal(Down, ZERO),
        ],
    },
    Chapter {
        title: "Time",
        lead: "Where the time goes.",
        metrics: &[
            clock("tokens_per_s", "Tokens per second", "tokens/s", "Prompt and completion tokens, sampled and trained on, per second of the whole step.").goal(Up, None).rank(Rank::Compared),
            clock("trajectories_per_s", "Trajectories per second", "1/s", "Lab: trajectories sampled and trained on per second of the step.").goal(Up, None),
            batch("trajectories", "Trajectories", "", "Lab: trajectories sampled so far.").source(Source::Exact).least(0.0),
            clock("wall_s", "Wall-clock time", "s", "Wall-clock time of all steps so far, without evaluations and checkpoints."),
            clock("cpu_s", "Processor time", "s", "Processor time of all steps so far, user and system over all threads, without evaluations and checkpoints.").on("wall_s"),
            clock("step_s", "Time per step", "s", "Wall-clock time of the step."),
            clock("sample_s", "Sampling", "s", "Part of the step spent sampling completions.").on("step_s"),
            clock("update_s", "Update", "s", "Part of the step spent scoring, differentiating and updating.").on("step_s"),
            clock("judge_p50_s", "Judging a completion", "s", "Median time that the verifier's workers took for a completion of the step."),
            clock("judge_p95_s", "Judging a completion, 95 %", "s", "Time within which the verifier's workers judged 95 % of the completions.").on("judge_p50_s"),
            clock("judge_max_s", "Judging a completion, longest", "s", "Longest time that the verifier's workers took for a completion.").on("judge_p50_s"),
            batch("step", "Step", "", "Number of training steps completed when the record was written; 0 is before the first.").source(Source::Exact).least(0.0).hidden(),
        ],
    },
];

/// Builds a metric of each step, estimated from its completions. The methods below change the other fields.
const fn batch(name: &'static str, label: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric {
        name,
        label,
        unit,
        meaning,
        range: (-INFINITE, INFINITE),
        better: Neither,
        target: None,
        source: Source::Sampled,
        evaluated: false,
        log: false,
        chart: Chart::Own,
        rank: Rank::Detail,
    }
}

/// Builds a metric of evaluations, estimated from samples of held-out prompts.
const fn held_out(name: &'static str, label: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    Metric { evaluated: true, ..batch(name, label, unit, meaning) }
}

/// Builds an exact metric of evaluations.
const fn exact(name: &'static str, label: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    held_out(name, label, unit, meaning).source(Source::Exact)
}

/// Builds a metric of time or speed.
const fn clock(name: &'static str, label: &'static str, unit: &'static str, meaning: &'static str) -> Metric {
    batch(name, label, unit, meaning).source(Source::Clock).least(0.0)
}

const fn pass(name: &'static str, label: &'static str, meaning: &'static str) -> Metric {
    held_out(name, label, "fraction", meaning).within(0.0, 1.0).goal(Up, None).on("eval_pass_at_1")
}

const fn metric(name: &'static str) -> Option<Target> {
    Some(Target::Metric(name))
}

impl Metric {
    const fn within(self, least: f64, largest: f64) -> Self {
        Self { range: (least, largest), ..self }
    }

    const fn least(self, least: f64) -> Self {
        self.within(least, INFINITE)
    }

    const fn goal(self, better: Better, target: Option<Target>) -> Self {
        Self { better, target, ..self }
    }

    const fn source(self, source: Source) -> Self {
        Self { source, ..self }
    }

    const fn log(self) -> Self {
        Self { log: true, ..self }
    }

    const fn chart(self, chart: Chart) -> Self {
        Self { chart, ..self }
    }

    const fn on(self, name: &'static str) -> Self {
        self.chart(Chart::On(name))
    }

    const fn hidden(self) -> Self {
        self.chart(Chart::Hidden)
    }

    const fn rank(self, rank: Rank) -> Self {
        Self { rank, ..self }
    }
}
