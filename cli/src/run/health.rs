//! What a run of a language model should tell before it has cost an hour: each thing once, with what to do.

use flowrl_core::objective::{Importance, Objective};

use crate::config::Config;
use crate::metrics::Record;

/// Looks at each step's record.
#[derive(Debug)]
pub(super) struct Health {
    max_tokens: usize,
    group_rewards: bool,
    sequence_weights: bool,
    /// Whether it learns from completions of a file.
    is_stored: bool,
    /// Steps without a break in which every group was degenerate, and in which no completion got a reward.
    degenerate: u64,
    unrewarded: u64,
    said: Vec<&'static str>,
}

impl Health {
    pub(super) fn new(config: &Config, objective: &Objective) -> Self {
        let sequence_weights = matches!(objective, Objective::FlowRl(o) if o.importance == Importance::Sequence);
        Self {
            max_tokens: config.sampling.max_tokens.unwrap_or(0),
            group_rewards: objective.compares_within_group(),
            sequence_weights,
            is_stored: config.train.rollouts.is_some(),
            degenerate: 0,
            unrewarded: 0,
            said: Vec::new(),
        }
    }

    /// What is wrong before the first step.
    pub(super) fn of_options(&self, config: &Config) -> Option<String> {
        (self.group_rewards && !self.is_stored && config.train.samples == 1).then(|| {
            "train.samples is 1, but this objective compares the completions of a prompt with each other: every reward counts as 0; \
             raise --samples to 4 or more"
                .into()
        })
    }

    /// What this step shows for the first time.
    pub(super) fn look(&mut self, step: u64, record: &Record) -> Vec<String> {
        let value = |name: &str| record.number(name);
        let share = |name: &str| value(name).unwrap_or(0.0);
        let count = |so_far: u64, holds: bool| if holds { so_far + 1 } else { 0 };
        self.degenerate = count(self.degenerate, value("degenerate_groups") == Some(1.0));
        self.unrewarded = count(self.unrewarded, value("success") == Some(0.0));
        let cut = share("truncated_fraction");
        let found = [
            (cut >= 0.5).then(|| {
                let cut = 100.0 * cut;
                if self.is_stored {
                    return format!("{cut:.0} % of the stored completions were cut off: sample them with room for more tokens, or leave them out");
                }
                format!(
                    "{cut:.0} % of the completions were cut off at sampling.max_tokens = {} and got no reward: raise --max-tokens, give a \
                     text that ends an answer by --stop, or ask for short answers",
                    self.max_tokens
                )
            }),
            (self.group_rewards && self.degenerate >= 3).then(|| {
                let remedy = if self.is_stored {
                    "store more completions of a prompt, of prompts that are neither trivial nor hopeless"
                } else {
                    "raise --samples or the temperature, take prompts that are neither trivial nor hopeless, and look at the verdicts in \
                     rollouts.jsonl"
                };
                format!("for 3 steps all completions of each prompt had the same reward: there was nothing to tell better from worse; {remedy}")
            }),
            (value("grad_norm") == Some(0.0)).then(|| {
                "the gradient was exactly 0: this step taught nothing; the policy does not change where all rewards of a group are equal"
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
                    "the weight of a whole sequence multiplies those of its tokens, which long ones do not bear; take --set \
                     objective.importance=geometric"
                } else {
                    "take fewer updates of the same completions (train.epochs, train.minibatches), a lower --learning-rate, or fresher \
                     rollouts"
                };
                format!("{:.0} % of the importance weights are on a bound of the clip: {remedy}", 100.0 * share("clip_fraction"))
            }),
            (share("excluded_mass") > 0.01).then(|| {
                format!(
                    "the model gives {:.1} % of its probability to rows of the embedding that the tokenizer has no token for; they are \
                     not drawn: do tokenizer and model belong together?",
                    100.0 * share("excluded_mass")
                )
            }),
        ];
        let mut messages = Vec::new();
        for (name, message) in ["cut", "degenerate", "gradient", "reward", "weights", "excluded"].into_iter().zip(found)
        {
            if let Some(message) = message.filter(|_| !self.said.contains(&name)) {
                self.said.push(name);
                messages.push(format!("step {step}: {message}"));
            }
        }
        messages
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

    /// What is said over some steps that are alike.
    fn said(objective: &str, steps: u64, values: &[(&str, f64)]) -> Vec<String> {
        let mut health = health(objective);
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
        ] {
            assert_eq!(said(objective, steps - 1, &[(name, value)]), Vec::<String>::new(), "{name} too early");
            let said = said(objective, 30, &[(name, value)]);
            assert!(said.len() == 1 && said[0].contains(wanted), "{name}: {said:?}");
            assert!(said[0].starts_with(&format!("step {steps}: ")), "{said:?}");
        }
        // Raw rewards teach where all completions of a prompt are alike, too.
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
