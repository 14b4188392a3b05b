//! The sections of a configuration and their defaults.

use std::path::PathBuf;

use flowrl_core::optim::{AdamW, Decay};
use flowrl_core::partition::PartitionOptions;
use flowrl_lab::Backward;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use crate::device::{DeviceName, Precision};

/// The model and the variables of its chat template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// Hugging Face folder of the model. Absent means the built-in model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Whether the backward pass recomputes the activations of a layer, for less memory and a third more time. Absent
    /// means only if memory requires it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<bool>,
    /// Variables of the chat template by name, for example `enable_thinking`; `date` is the day that it prints.
    #[serde(skip_serializing_if = "Table::is_empty", deserialize_with = "dates_as_text")]
    pub template: Table,
}

/// Deserializes a table with dates as strings: templates have no dates, and [`Table::try_from`] would write one as a
/// table.
fn dates_as_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
    fn change(value: &mut Value) {
        match value {
            Value::Datetime(date) => *value = Value::String(date.to_string()),
            Value::Array(items) => items.iter_mut().for_each(change),
            Value::Table(table) => table.iter_mut().for_each(|(_, value)| change(value)),
            _ => {}
        }
    }
    let mut table = Table::deserialize(deserializer)?;
    table.iter_mut().for_each(|(_, value)| change(value));
    Ok(table)
}

/// Lab: the policy network and its exploration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySection {
    /// Network of the policy, `tabular` or `mlp`.
    pub kind: PolicyKind,
    /// MLP: units of a hidden layer.
    pub width: usize,
    /// MLP: hidden layers.
    pub layers: usize,
    /// Backward policy P_B if objects have several trajectories, `learned` or `uniform`.
    pub backward: Backward,
    /// Fraction ε of the actions drawn uniformly from the legal ones instead of from the policy.
    pub exploration: f64,
}

/// The kind of function that computes the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// One logit for each state and action.
    #[default]
    Tabular,
    /// A multilayer perceptron on the state's description.
    Mlp,
}

/// Steps, batch sizes, seed and device of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainSection {
    /// Number of training steps.
    pub steps: u64,
    /// Prompts per step.
    pub prompts: usize,
    /// Completions per prompt.
    pub samples: usize,
    /// Lab: trajectories per step.
    pub batch: usize,
    /// Optimiser steps over the completions of a step.
    pub minibatches: usize,
    /// Passes over the completions of a step.
    pub epochs: usize,
    /// Prompts in a forward and backward pass; 0 means all of a minibatch. Absent means as many as fit in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Seed of all randomness.
    pub seed: u64,
    /// Number of threads; 0 means one per processor. No bit of the result depends on this number.
    pub threads: usize,
    /// Device that computes: `cpu`, `cuda`, `cuda:N` or `emulated`.
    pub device: DeviceName,
    /// Number format of activations and weights on the device: `auto`, `bf16`, `bf16-f32-logits` or `f32`.
    pub precision: Precision,
    /// Lab: `fast`, or the plain `reference`, which computes the same bits on every platform.
    pub arithmetic: Arithmetic,
    /// Extra batches of prompts that a step may sample until it has `prompts` groups with differing rewards; 0 means
    /// none.
    pub dynamic_sampling: usize,
    /// Tokens before `sampling.max_tokens` over which the overlong penalty of the reward grows; 0 means no penalty.
    pub overlong_buffer: usize,
    /// Overlong penalty at `sampling.max_tokens`.
    pub overlong_penalty: f64,
    /// Stored completions to learn from instead of sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<PathBuf>,
}

/// Lab: the arithmetic of a policy, which decides whether its bits agree with those of other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Vector instructions, and matrix products from a library.
    #[default]
    Fast,
    /// Plain loops on one thread, with the same bits on every platform, including WebAssembly.
    Reference,
}

/// Length limit and sampling parameters of completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSection {
    /// Maximum number of tokens in a completion. Absent means 512, or less if the longest prompt leaves less of the
    /// model's context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Texts that end a completion, in addition to the model's end tokens.
    pub stop: Vec<String>,
    /// Completions sampled at once; 0 means as many as the cache holds. Absent means as many as fit in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<usize>,
    /// Divisor of the logits, in sampling and in scoring.
    pub temperature: f64,
    /// Number of most probable tokens to keep; 0 keeps all.
    pub top_k: usize,
    /// Sum of probabilities up to which the most probable tokens are kept.
    pub top_p: f64,
}

/// AdamW and learning-rate schedule of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "the fields of AdamW and Schedule")]
pub struct OptimizerSection {
    /// Learning rate after the warm-up.
    pub learning_rate: f64,
    /// Optimiser steps of warm-up.
    pub warmup: u64,
    /// Shape of the learning rate after the warm-up.
    pub decay: Decay,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Largest norm of the gradient; 0 disables clipping.
    pub clip_norm: f64,
}

/// Optimiser and network of log Z or V, if it is learned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogZSection {
    /// Learning rate of log Z or V.
    pub learning_rate: f64,
    /// Weight decay of log Z or V.
    pub weight_decay: f64,
    /// Whether the gradient stops at the hidden states.
    pub detach_trunk: bool,
    /// Number of linear layers.
    pub layers: usize,
    /// Whether a layer normalisation follows each GELU.
    pub layer_norm: bool,
    /// Dropout probability after each GELU.
    pub dropout: f64,
    /// Whether the last layer starts at 0.
    pub zero_init: bool,
}

/// Frequency and size of evaluations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvalSection {
    /// Steps between evaluations; 0 means only before the first and after the last step.
    pub every: u64,
    /// Number of held-out prompts to evaluate on; 0 means no evaluation.
    pub prompts: usize,
    /// Completions per held-out prompt.
    pub samples: usize,
    /// Lab: β of the exact target that the policy is compared with. Absent means the objective's β, or the task's if
    /// the objective has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_beta: Option<f64>,
}

/// Checkpoints to keep, early stopping and trackers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// Steps between checkpoints; 0 means only after the last step.
    pub save_every: u64,
    /// Number of latest checkpoints to keep.
    pub keep: usize,
    /// Evaluation metric by which the best checkpoint is kept in addition. Absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// Evaluations in a row without improvement of that metric after which the run ends; 0 means never.
    pub patience: u64,
    /// Experiment trackers that receive every record.
    pub tracker: Vec<Tracker>,
    /// Python interpreter of the trackers. Absent means that of the active virtual environment, or the first on PATH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
}

/// An experiment tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tracker {
    /// Event files for TensorBoard.
    Tensorboard,
    /// Weights & Biases.
    Wandb,
    /// Hugging Face's trackio.
    Trackio,
    /// MLflow.
    Mlflow,
}

impl Default for PolicySection {
    fn default() -> Self {
        Self { kind: PolicyKind::Tabular, width: 256, layers: 2, backward: Backward::Learned, exploration: 0.0 }
    }
}

impl Default for TrainSection {
    fn default() -> Self {
        Self {
            steps: 200,
            prompts: 16,
            samples: 8,
            batch: 128,
            minibatches: 1,
            epochs: 1,
            micro_batch: None,
            seed: 0,
            threads: 0,
            device: DeviceName::Cpu,
            precision: Precision::Auto,
            arithmetic: Arithmetic::Fast,
            dynamic_sampling: 0,
            overlong_buffer: 0,
            overlong_penalty: 1.0,
            rollouts: None,
        }
    }
}

impl Default for SamplingSection {
    fn default() -> Self {
        Self { max_tokens: None, stop: Vec::new(), wave: None, temperature: 1.0, top_k: 0, top_p: 1.0 }
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
        Self { every: 50, prompts: 128, samples: 16, target_beta: None }
    }
}

impl Default for RunSection {
    fn default() -> Self {
        Self { save_every: 50, keep: 2, best: None, patience: 0, tracker: Vec::new(), python: None }
    }
}
