//! The configuration of a run: defaults < file < flags, resolved, written into the run directory, and replayable from there.

mod settings;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flowrl_core::backend::Sampler;
use flowrl_core::objective::{Aggregate, BaselineKind, Kind, Objective, ObjectiveSpec, Preset};
use flowrl_core::optim::{AdamW, Decay, Schedule};
use flowrl_core::partition::PartitionOptions;
use flowrl_core::train::TrainOptions;
use serde::{Deserialize, Serialize};
use toml::Table;

/// Everything that a run depends on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Which model.
    pub model: ModelSection,
    /// Which prompts and rewards.
    pub task: TaskSection,
    /// Which objective.
    pub objective: ObjectiveSpec,
    /// How to train.
    pub train: TrainSection,
    /// How to sample.
    pub sampling: SamplingSection,
    /// AdamW of the policy.
    pub optimizer: OptimizerSection,
    /// log Z or V, where it is learned.
    pub log_z: LogZSection,
    /// How to evaluate.
    pub eval: EvalSection,
    /// What is kept.
    pub run: RunSection,
}

/// Which model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// A Hugging Face folder; absent means the model in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Compute the activations of a layer again in the backward pass: less memory, a third more time.
    pub recompute: bool,
}

/// Which prompts and rewards.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSection {
    /// `countdown` (generated) or `prompts` (a file).
    pub kind: TaskKind,
    /// Countdown: how many numbers a problem has.
    pub numbers: Vec<usize>,
    /// Countdown: the largest number.
    pub max_number: u32,
    /// Countdown: the largest target.
    pub max_target: i64,
    /// Countdown: the order of problems.
    pub seed: u64,
    /// Prompts: the JSONL file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// Prompts: the JSONL file for evaluation; absent means every tenth prompt of `prompts` is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<PathBuf>,
    /// Prompts: `countdown`, `exact` or `number`.
    pub verifier: String,
}

/// Where prompts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Generated Countdown problems.
    #[default]
    Countdown,
    /// A JSONL file.
    Prompts,
}

impl TaskKind {
    /// Its name in a file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Countdown => "countdown",
            Self::Prompts => "prompts",
        }
    }
}

/// How to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSection {
    /// Steps.
    pub steps: u64,
    /// Prompts of a step.
    pub prompts: usize,
    /// Completions of a prompt.
    pub samples: usize,
    /// Optimiser steps over the completions of a step.
    pub minibatches: usize,
    /// Passes over the completions of a step.
    pub epochs: usize,
    /// Prompts in a forward and backward pass; 0 means all of a minibatch.
    pub micro_batch: usize,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 means one for each processor. Changes no bit of the result.
    pub threads: usize,
    /// Stored completions to learn from instead of sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<PathBuf>,
}

/// How to sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSection {
    /// Tokens of a completion at most.
    pub max_tokens: usize,
    /// Logits are divided by it, in sampling and in scoring.
    pub temperature: f64,
    /// Keep the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the most probable tokens until their probabilities reach this sum.
    pub top_p: f64,
}

/// AdamW of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the fields of AdamW and Schedule")]
pub struct OptimizerSection {
    /// Learning rate after warm-up.
    pub learning_rate: f64,
    /// Optimiser steps of warm-up.
    pub warmup: u64,
    /// What follows the warm-up.
    pub decay: Decay,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Largest norm of a gradient; 0 switches clipping off.
    pub clip_norm: f64,
}

/// log Z or V, where it is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogZSection {
    /// Its learning rate.
    pub learning_rate: f64,
    /// Its weight decay.
    pub weight_decay: f64,
    /// Stop its gradient at the hidden states.
    pub detach_trunk: bool,
    /// Linear layers.
    pub layers: usize,
    /// Layer normalisation after each GELU.
    pub layer_norm: bool,
    /// Dropout after each GELU.
    pub dropout: f64,
    /// Start the last layer at 0.
    pub zero_init: bool,
}

/// How to evaluate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalSection {
    /// Steps between evaluations; 0 means only before the first and after the last step.
    pub every: u64,
    /// Held-out prompts.
    pub prompts: usize,
    /// Completions of a prompt.
    pub samples: usize,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// Steps between checkpoints; 0 means only after the last step.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: usize,
}

impl Default for TaskSection {
    fn default() -> Self {
        Self {
            kind: TaskKind::Countdown,
            numbers: vec![3],
            max_number: 25,
            max_target: 100,
            seed: 0,
            prompts: None,
            held_out: None,
            verifier: "exact".into(),
        }
    }
}

impl Default for TrainSection {
    fn default() -> Self {
        Self {
            steps: 200,
            prompts: 16,
            samples: 8,
            minibatches: 1,
            epochs: 1,
            micro_batch: 0,
            seed: 0,
            threads: 0,
            rollouts: None,
        }
    }
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self { max_tokens: 16, temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

impl Default for OptimizerSection {
    fn default() -> Self {
        let AdamW { beta1, beta2, eps, weight_decay } = AdamW::default();
        Self { learning_rate: 1e-4, warmup: 10, decay: Decay::Cosine, beta1, beta2, eps, weight_decay, clip_norm: 1.0 }
    }
}

impl Default for LogZSection {
    fn default() -> Self {
        let PartitionOptions { layers, layer_norm, dropout, zero_init } = PartitionOptions::default();
        Self { learning_rate: 1e-3, weight_decay: 0.0, detach_trunk: false, layers, layer_norm, dropout, zero_init }
    }
}

impl Default for EvalSection {
    fn default() -> Self {
        Self { every: 50, prompts: 128, samples: 16 }
    }
}

impl Default for RunSection {
    fn default() -> Self {
        Self { save_every: 50, keep: 2 }
    }
}

impl Config {
    /// Reads a file (or nothing), then applies `key=value` settings in order.
    ///
    /// # Errors
    /// A file that cannot be read, an unknown key, a value of the wrong type: with file, line or key.
    pub fn load(file: Option<&Path>, overrides: &[String]) -> Result<Self> {
        let mut table = Table::new();
        if let Some(file) = file {
            let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            // Parsed as a whole first, so that an error shows the line.
            toml::from_str::<Self>(&text).with_context(|| format!("in {}", file.display()))?;
            table = text.parse()?;
        }
        for setting in overrides {
            settings::set(&mut table, setting)?;
        }
        table.try_into().context("in the settings")
    }

    /// The objective, with every option that it does not use refused.
    ///
    /// # Errors
    /// An option out of range, or one that this objective does not use.
    pub fn objective(&self) -> Result<Objective> {
        let mut objective = self.objective.resolve()?;
        let unused = self.objective.unused()?;
        if !unused.is_empty() {
            bail!("objective `{}` does not use {}; remove it", objective.name(), unused.join(", "));
        }
        // The length that Dr. GRPO divides by is the longest completion there can be.
        if let Objective::Baseline(baseline) = &mut objective
            && baseline.kind == BaselineKind::DrGrpo
            && self.objective.aggregate.is_none()
        {
            baseline.aggregate = Aggregate::Fixed(self.sampling.max_tokens);
        }
        Ok(objective)
    }

    /// The preset or the baseline by name.
    #[must_use]
    pub fn objective_name(&self) -> &'static str {
        match (self.objective.kind.and_then(Kind::baseline), self.objective.preset) {
            (Some(baseline), _) => baseline.name(),
            (None, preset) => preset.unwrap_or(Preset::Paper).name(),
        }
    }

    /// What the training loop needs.
    ///
    /// # Errors
    /// An option out of range.
    pub fn train_options(&self) -> Result<TrainOptions> {
        let Self { train, sampling, optimizer, log_z, .. } = self;
        let updates = train.steps * (train.minibatches * train.epochs) as u64;
        let options = TrainOptions {
            prompts: train.prompts,
            samples: train.samples,
            max_tokens: sampling.max_tokens,
            sampler: self.sampler(),
            minibatches: train.minibatches,
            epochs: train.epochs,
            micro_batch: train.micro_batch,
            schedule: Schedule {
                peak: optimizer.learning_rate,
                warmup: optimizer.warmup,
                total: updates,
                decay: optimizer.decay,
            },
            optimizer: AdamW {
                beta1: optimizer.beta1,
                beta2: optimizer.beta2,
                eps: optimizer.eps,
                weight_decay: optimizer.weight_decay,
            },
            clip_norm: (optimizer.clip_norm > 0.0).then_some(optimizer.clip_norm),
            partition: PartitionOptions {
                layers: log_z.layers,
                layer_norm: log_z.layer_norm,
                dropout: log_z.dropout,
                zero_init: log_z.zero_init,
            },
            log_z_learning_rate: log_z.learning_rate,
            log_z_optimizer: AdamW { weight_decay: log_z.weight_decay, ..AdamW::default() },
            detach_trunk: log_z.detach_trunk,
            seed: train.seed,
        };
        options.validate().map_err(anyhow::Error::msg)?;
        Ok(options)
    }

    /// How a token is drawn.
    #[must_use]
    pub const fn sampler(&self) -> Sampler {
        let SamplingSection { temperature, top_k, top_p, .. } = self.sampling;
        Sampler { temperature, top_k, top_p }
    }

    /// As a file that replays this run, the objective with all its options.
    ///
    /// # Errors
    /// As for [`Config::objective`].
    pub fn to_toml(&self) -> Result<String> {
        let objective = self.objective()?;
        let mut spec = ObjectiveSpec::from(&objective);
        if let Objective::FlowRl(_) = objective {
            // The name stays, although every option stands beside it.
            spec.preset = self.objective.preset.or(Some(Preset::Paper));
        }
        let resolved = Self { objective: spec, ..self.clone() };
        Ok(toml::to_string_pretty(&resolved)?)
    }
}
