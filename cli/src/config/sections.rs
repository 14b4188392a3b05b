//! The sections of a configuration and their defaults.

use std::path::PathBuf;

use flowrl_core::lab::Backward;
use flowrl_core::optim::{AdamW, Decay};
use flowrl_core::partition::PartitionOptions;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use crate::device::{DeviceName, Precision};
use crate::trackers::Tracker;

/// Which model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSection {
    /// A Hugging Face folder; absent means the model in the program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
    /// Compute the activations of a layer again in the backward pass: less memory, a third more time. Absent means where memory asks
    /// for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recompute: Option<bool>,
    /// Variables of the chat template by name, such as `enable_thinking`; `date` is the day that it prints.
    #[serde(skip_serializing_if = "Table::is_empty", deserialize_with = "dates_as_text")]
    pub template: Table,
}

/// Templates know no dates, and [`Table::try_from`] would write one as a table.
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

/// Lab: which policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicySection {
    /// `tabular` or `mlp`.
    pub kind: PolicyKind,
    /// MLP: units of a hidden layer.
    pub width: usize,
    /// MLP: hidden layers.
    pub layers: usize,
    /// Where objects have several trajectories: the backward policy P_B, `learned` or `uniform`.
    pub backward: Backward,
    /// Share ε of the actions drawn uniformly from the legal ones instead of from the policy.
    pub exploration: f64,
}

/// What computes the logits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyKind {
    /// One logit for each state and action.
    #[default]
    Tabular,
    /// A multilayer perceptron on the state's description.
    Mlp,
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
    /// Lab: trajectories of a step.
    pub batch: usize,
    /// Optimiser steps over the completions of a step.
    pub minibatches: usize,
    /// Passes over the completions of a step.
    pub epochs: usize,
    /// Prompts in a forward and backward pass; 0 means all of a minibatch. Absent means as many as fit memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Seed of everything random.
    pub seed: u64,
    /// Threads; 0 means one for each processor. Changes no bit of the result.
    pub threads: usize,
    /// `cpu`, `cuda` or `cuda:N`, `emulated`.
    pub device: DeviceName,
    /// How the device stores activations and weights: `auto`, `bf16`, `bf16-f32-logits` or `f32`.
    pub precision: Precision,
    /// Lab: `fast`, or the plain `reference`, which gives the same bits on every platform.
    pub arithmetic: Arithmetic,
    /// Batches of prompts that a step may sample beyond its first until it has `prompts` groups whose rewards differ; 0 means none.
    pub dynamic_sampling: usize,
    /// Tokens before `sampling.max_tokens` over which a penalty of the reward grows; 0 means none.
    pub overlong_buffer: usize,
    /// That penalty at `sampling.max_tokens`.
    pub overlong_penalty: f64,
    /// Stored completions to learn from instead of sampling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollouts: Option<PathBuf>,
}

/// Lab: what computes a policy, and how its bits compare with those of other machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arithmetic {
    /// Vector instructions and a library's matrix products.
    #[default]
    Fast,
    /// Plain loops on one thread: the same bits on every platform, WebAssembly among them.
    Reference,
}

/// How to sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SamplingSection {
    /// Tokens of a completion at most. Absent means 512, or what the longest prompt leaves of the model's context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// Texts that end a completion besides the model's end tokens.
    pub stop: Vec<String>,
    /// Completions sampled at once; 0 means as many as the cache holds. Absent means as many as fit memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wave: Option<usize>,
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
    /// Lab: β of the exact target that the policy is compared with; absent means the objective's, or where it has none the task's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_beta: Option<f64>,
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunSection {
    /// Steps between checkpoints; 0 means only after the last step.
    pub save_every: u64,
    /// Checkpoints kept.
    pub keep: usize,
    /// The metric of evaluations whose best checkpoint is kept besides; absent means none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub best: Option<String>,
    /// Evaluations without improvement of that metric after which the run ends; 0 means never.
    pub patience: u64,
    /// Experiment trackers that get every record.
    pub tracker: Vec<Tracker>,
    /// The Python interpreter of trackers; absent means that of the active virtual environment, or the first on PATH.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub python: Option<PathBuf>,
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
