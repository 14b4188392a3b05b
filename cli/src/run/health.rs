//! Warnings about a run of a language model that learns badly, each given once, early, and with a remedy.

use flowrl_core::objective::{Importance, Objective};

use crate::config::Config;
use crate::metrics::Record;

/// The state of the checks, which look at the record of each step.
#[derive(Debug)]
pub(super) struct Health {
    /// Tokens of the step's completions.
    pub(super) tokens: usize,
    max_tokens: usize,
    prompts: usize,
    samples: usize,
    minibatches: usize,
    dynamic_sampling: usize,
    group_rewards: bool,
    sequence_weights: bool,
    /// Whether the run learns from stored completions.
    is_stored: bool,
    /// Steps in a row in which every group was degenerate.
    degenerate: u64,
    /// Steps in a row in which no completion got a reward.
    unrewarded: u64,
    said: Vec<&'static str>,
}

impl Health {
    pub(super) fn new(config: &Config, objective: &Objective) -> Self {
        let sequence_weights = matches!(objective, Objective::FlowRl(o) if o.importance == Importance::Sequence);
        Self {
            tokens: 0,
            max_tokens: config.sampling.max_tokens.unwrap_or(0),
            prompts: config.train.prompts,
            samples: config.train.samples,
            minibatches: config.train.minibatches,
            dynamic_sampling: config.train.dynamic_sampling,
            group_rewards: objective.compares_within_group(),
            sequence_weights,
            is_stored: config.train.rollouts.is_some(),
            degenerate: 0,
            unrewarded: 0,
            said: Vec::new(),
        }
    }

    /// Returns a warning about options, before the first step.
    pub(super) fn of_options(&self, config: &Config) -> Option<String> {
        (self.group_rewards && !self.is_stored && config.train.samples == 1).then(|| {
            "train.samples is 1, but this objective compares the completions of a prompt with each other: every reward counts as 0; \
             raise --samples to 4 or more"
                .into()
        })
    }

    /// Returns the warnings that this step causes for the first time.
    pub(super) fn look(&mut self, step: u64, record: &Record) -> Vec<String> {
        let value = |name: &str| record.number(name);
        let share = |name: &str| value(name).unwrap_or(0.0);
        let count = |so_far: u64, holds: bool| if holds { so_far + 1 } else { 0 };
        // Completions that are left out say nothing about the others.
        let left_out = share("left_out") > 0.0;
        self.degenerate = count(self.degenerate, value("degenerate_groups") == Some(1.0) && !left_out);
        self.unrewarded = count(self.unrewarded, value("success") == Some(0.0) && !left_out);
        let cut = share("truncated_fraction");
        let found = [
            (cut >= 0.5).then(|| {
                let cut = 100.0 * cut;
                if self.is_stored {
                    return format!("{cut:.0} % of the stored completions were cut off: sample them with room for more tokens, or leave them out");
                }
                format!(
                    "{cut:.0} % of the completions were cut off at sampling.max_tokens = {}, where the built-in verifiers give no reward: raise --max-tokens, give a \
                     text that ends an answer by --stop, or ask for short answers",
                    self.max_tokens
                )
            }),
            (self.group_rewards && self.degenerate >= 3).then(|| {
                let remedy = if self.is_stored {
                    "store more completions of a prompt, of prompts that are neither trivial nor hopeless"
                } else {
                    "raise --samples or the temperature, use prompts that are neither trivial nor hopeless, and look at the verdicts in \
                     rollouts.jsonl"
                };
                format!("for 3 steps all completions of each prompt had the same reward, so none was better than another; {remedy}")
            }),
            (value("grad_norm") == Some(0.0) && !left_out).then(|| {
                "the gradient was exactly 0: this step taught nothing; the policy does not change if all rewards of a group are equal"
                    .to_owned()
            }),
            (self.unrewarded >= 10).then(|| {
                let remedy = if self.is_stored {
                    "check `reward` in the file of stored completions"
                } else {
                    "check the answers, the verifier and the prompts (`flowrl-cli sample` shows completions, rollouts.jsonl their verdicts)"
                };
                format!("no completion got a reward above 0 in 10 steps: {remedy}")
            }),
            (share("clip_fraction") >= 0.5).then(|| {
                let remedy = if self.sequence_weights {
                    "the weight of a whole sequence multiplies those of its tokens, which is too much for long ones; use --set \
                     objective.importance=geometric"
                } else {
                    "use fewer updates of the same completions (train.epochs, train.minibatches), a lower --learning-rate, or fresher \
                     rollouts"
                };
                format!("{:.0} % of the importance weights are at a bound of the clip: {remedy}", 100.0 * share("clip_fraction"))
            }),
            (share("excluded_mass") > 0.01).then(|| {
                format!(
                    "the model gives {:.1} % of its probability to rows of the embedding that the tokenizer has no token for; they are \
                     not sampled: do the tokenizer and the model belong together?",
                    100.0 * share("excluded_mass")
                )
            }),
        ];
        let names = ["cut", "degenerate", "gradient", "reward", "weights", "excluded"];
        let found = names.into_iter().zip(found).chain(self.of_sampling(record)).chain(self.of_tokens(record));
        let mut messages = Vec::new();
        for (name, message) in found.collect::<Vec<_>>() {
            if let Some(message) = message.filter(|_| !self.said.contains(&name)) {
                self.said.push(name);
                messages.push(format!("step {step}: {message}"));
            }
        }
        messages
    }
}

impl Health {
    /// Returns the warnings about dynamic sampling and about the engine that sampled.
    fn of_sampling(&self, record: &Record) -> [(&'static str, Option<String>); 3] {
        let share = |name: &str| record.number(name).unwrap_or(0.0);
        let groups = record.number("learned_groups").filter(|learned| *learned < self.prompts as f64);
        let left_out = share("left_out");
        let sampled = record.number("sampled_groups").unwrap_or(self.prompts as f64) * self.samples as f64;
        let (drift, bounded) = (share("rollout_drift"), share("rollout_clip_fraction"));
        [
            (
                "left-out",
                (left_out > 0.0 && left_out >= sampled / 2.0).then(|| {
                    format!(
                        "{left_out} of {sampled} completions have no reward, so nothing is learned from them: their verdicts are in \
                         rollouts.jsonl, and what the verifier wrote is in verifier.log"
                    )
                }),
            ),
            (
                "groups",
                groups.map(|learned| {
                    format!(
                        "only {learned} of {} groups had differing rewards, fewer than the {} wanted, even after {} extra batches \
                         (train.dynamic_sampling): the step learned from these; allow more batches, raise --samples or the temperature, \
                         or use prompts that are neither trivial nor hopeless",
                        share("sampled_groups"),
                        self.prompts,
                        self.dynamic_sampling
                    )
                }),
            ),
            (
                "rollout",
                (drift > 0.1 || bounded >= 0.5).then(|| {
                    format!(
                        "the token probabilities of the engine that sampled differ from those of this one by a factor of e^{drift:.2} on \
                         average, and {:.0} % of the rollout weights are beyond their bounds: do its model, chat template, tokens and \
                         temperature agree with this run's, and are the completions fresh?",
                        100.0 * bounded
                    )
                }),
            ),
        ]
    }

    /// Returns the warnings about tokens that weigh too much or not at all.
    fn of_tokens(&self, record: &Record) -> [(&'static str, Option<String>); 3] {
        let share = |name: &str| record.number(name).unwrap_or(0.0);
        let learned = record.number("learned_groups").map_or(1.0, |learned| learned / share("sampled_groups"));
        let tokens = self.tokens as f64 * learned / self.minibatches as f64;
        let (largest, capped) = (share("token_gradient_share"), share("kl_capped"));
        let fresher = if self.is_stored {
            "check that the tokens and old_logp of the file belong to this model, and use fresher completions"
        } else {
            "use fewer updates of the same completions (train.epochs, train.minibatches) or a lower --learning-rate"
        };
        [
            (
                "token",
                (largest > 0.5 && tokens > 64.0).then(|| {
                    format!(
                        "one token has {:.0} % of the gradient's weight, of some {tokens:.0} tokens in an update, and dominates \
                         it: objective.dual_clip = 3 bounds its ratio and objective.kl_max = 10 its KL estimate, if the objective has them",
                        100.0 * largest
                    )
                }),
            ),
            (
                "outliers",
                (share("outlier_tokens") > 0.0).then(|| {
                    format!(
                        "{:.2} % of the tokens have a probability more than a factor of e^20 away from the one they were sampled with, and no \
                         gradient: {fresher}",
                        100.0 * share("outlier_tokens")
                    )
                }),
            ),
            (
                "capped",
                (capped >= 0.05).then(|| {
                    format!(
                        "{:.0} % of the tokens have a KL estimate at objective.kl_max, where it has no gradient: the policy is far from the \
                         reference; use a lower --learning-rate or a larger objective.kl",
                        100.0 * capped
                    )
                }),
            ),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[(&str, f64)]) -> Record {
        let mut record = Record::new(1);
        for (name, value) in values {
            record.set(name, *value);
        }
        record
    }

    #[test]
    fn what_is_said_of_stored_completions_is_about_their_file() {
        let mut config = Config::default();
        config.train.rollouts = Some("rows.jsonl".into());
        config.train.samples = 1;
        let mut health = Health::new(&config, &"grpo".parse().unwrap());
        assert_eq!(health.of_options(&config), None);
        let values = [("truncated_fraction", 1.0), ("degenerate_groups", 1.0), ("success", 0.0)];
        let said: Vec<String> = (1..=10).flat_map(|step| health.look(step, &record(&values))).collect();
        assert_eq!(said.len(), 3, "{said:?}");
        assert!(said.iter().all(|message| !message.contains("--") && message.contains("store")), "{said:?}");
    }

    fn health(objective: &str) -> Health {
        Health::new(&Config::default(), &objective.parse().unwrap())
    }

    /// Returns the warnings over some equal steps of 65 tokens each.
    fn said(objective: &str, steps: u64, values: &[(&str, f64)]) -> Vec<String> {
        let mut health = health(objective);
        health.tokens = 65;
        (1..=steps).flat_map(|step| health.look(step, &record(values))).collect()
    }

    #[test]
    fn a_healthy_step_says_nothing() {
        let values = [
            ("truncated_fraction", 0.49),
            ("degenerate_groups", 0.9),
            ("grad_norm", 1e-9),
            ("success", 0.01),
            ("clip_fraction", 0.49),
            ("excluded_mass", 0.009),
            ("token_gradient_share", 0.5),
            ("outlier_tokens", 0.0),
            ("kl_capped", 0.04),
            ("left_out", 63.0),
            ("learned_groups", 16.0),
            ("rollout_drift", 0.1),
            ("rollout_clip_fraction", 0.4),
        ];
        assert_eq!(said("paper", 20, &values), Vec::<String>::new());
    }

    #[test]
    fn each_thing_is_said_once_and_with_what_to_do() {
        for (objective, steps, name, value, wanted) in [
            ("paper", 1, "truncated_fraction", 0.5, "--max-tokens"),
            ("grpo", 3, "degenerate_groups", 1.0, "--samples"),
            ("grpo", 1, "grad_norm", 0.0, "exactly 0"),
            ("paper", 10, "success", 0.0, "no completion got a reward above 0 in 10 steps"),
            ("paper", 1, "clip_fraction", 0.5, "objective.importance=geometric"),
            ("grpo", 1, "clip_fraction", 0.5, "train.epochs"),
            ("paper", 1, "excluded_mass", 0.02, "tokenizer"),
            ("grpo", 1, "token_gradient_share", 0.51, "one token has 51 % of the gradient's weight, of some 65 tokens"),
            ("grpo", 1, "outlier_tokens", 1e-4, "0.01 % of the tokens"),
            ("grpo", 1, "kl_capped", 0.05, "objective.kl_max"),
            ("grpo", 1, "learned_groups", 15.0, "train.dynamic_sampling"),
            ("grpo", 1, "left_out", 64.0, "64 of 128 completions have no reward"),
            ("grpo", 1, "rollout_drift", 0.11, "chat template"),
            ("grpo", 1, "rollout_clip_fraction", 0.5, "50 % of the rollout weights"),
        ] {
            assert_eq!(said(objective, steps - 1, &[(name, value)]), Vec::<String>::new(), "{name} too early");
            let said = said(objective, 30, &[(name, value)]);
            assert!(said.len() == 1 && said[0].contains(wanted), "{name}: {said:?}");
            assert!(said[0].starts_with(&format!("step {steps}: ")), "{said:?}");
        }
        // One token naturally dominates a small update.
        let mut small = health("grpo");
        small.tokens = 64;
        assert_eq!(small.look(1, &record(&[("token_gradient_share", 1.0)])), Vec::<String>::new());
        // Raw rewards teach even if all completions of a prompt have the same one.
        assert_eq!(said("exact-tb", 9, &[("degenerate_groups", 1.0)]), Vec::<String>::new());
    }

    #[test]
    fn one_sample_cannot_be_compared() {
        let mut config = Config::default();
        config.train.samples = 1;
        assert!(health("grpo").of_options(&config).is_some_and(|message| message.contains("train.samples is 1")));
        assert_eq!(health("exact-tb").of_options(&config), None);
        config.train.samples = 2;
        assert_eq!(health("grpo").of_options(&config), None);
    }
}
