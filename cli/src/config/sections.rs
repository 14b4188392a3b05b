//! The sections of a configuration: every key with its default, its meaning, and the tasks that accept it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use flowrl_core::optim::{AdamW, Decay};
use flowrl_core::partition::PartitionOptions;
use flowrl_core::train::PromptOrder;
use flowrl_lab::LabKind::{Bandit, Bits, Hypergrid, Landscape, Tree};
use flowrl_lab::{Backward, BanditPreset, BanditReference, HypergridReward};
use flowrl_lm::task::LongPrompts;
use serde::{Deserialize, Deserializer, Serialize};
use toml::{Table, Value};

use super::TaskKind;
use super::TaskKind::{Countdown, Lab, Prompts};
use crate::data::Source;
use crate::device::{DeviceName, Precision};
use crate::metrics::sets::check_name;

pub(super) const ALL: &[TaskKind] = TaskKind::ALL;
pub(super) const TEXT: &[TaskKind] = &[Countdown, Prompts];
pub(super) const LAB: &[TaskKind] = &[Lab(Bandit), Lab(Landscape), Lab(Hypergrid), Lab(Bits), Lab(Tree)];
const ANSWERS: &[TaskKind] = &[Lab(Bandit), Lab(Landscape)];
const GRIDS: &[TaskKind] = &[Lab(Hypergrid), Lab(Landscape)];
const BANDIT: &[TaskKind] = &[Lab(Bandit)];
const LANDSCAPE: &[TaskKind] = &[Lab(Landscape)];
const HYPERGRID: &[TaskKind] = &[Lab(Hypergrid)];
const BITS: &[TaskKind] = &[Lab(Bits)];
const TREE: &[TaskKind] = &[Lab(Tree)];

/// The tasks that accept a key, the key, and its meaning.
pub(super) type Row = (&'static [TaskKind], &'static str, &'static str);

/// Defines a section from its keys: the struct with its defaults, and the rows for the table of keys. An option without
/// a value is absent from a file. A row that begins with `+` gives the meaning of a key for further tasks.
macro_rules! section {
    ($(#[$doc:meta])* $name:ident, $rows:ident {
        $($(#[$field:meta])* $tasks:ident $key:ident: $type:ty = $default:expr, $meaning:literal;
          $(+ $others:ident $other:ident, $for_them:literal;)*)*
    }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct $name {
            $(#[doc = $meaning] $(#[$field])* pub $key: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($key: $default),* }
            }
        }

        pub(super) const $rows: &[Row] = &[$(
            ($tasks, stringify!($key), $meaning),
            $(($others, stringify!($other), $for_them),)*
        )*];
    };
}

section! {
    /// The model and the variables of its chat template.
    ModelSection, MODEL {
        TEXT path: Option<PathBuf> = None, "Hugging Face folder of the model; absent: the small built-in model";
        TEXT recompute: Option<bool> = None, "recompute a layer's activations in the backward pass: less memory, a third more time; absent: only if memory requires it";
        #[serde(skip_serializing_if = "Table::is_empty", deserialize_with = "without_dates")]
        TEXT template: Table = Table::new(), "variables of the chat template by name, such as enable_thinking; date sets the day that it prints, see chat-templates.md";
    }
}

/// Files of prompts by the name of their set, in whose order they are measured.
pub type Sets = BTreeMap<String, PathBuf>;

/// Deserializes sets of prompts, and refuses names that no metric could have.
fn checked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Sets, D::Error> {
    let sets = Sets::deserialize(deserializer)?;
    sets.keys().try_for_each(|name| check_name(name)).map_err(serde::de::Error::custom)?;
    Ok(sets)
}

/// Deserializes a table with dates as strings: templates have no dates, and [`Table::try_from`] would write one as a
/// table.
fn without_dates<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Table, D::Error> {
    let mut table = Table::deserialize(deserializer)?;
    dates_as_text(&mut table);
    Ok(table)
}

/// Replaces the dates in a table by strings.
pub(crate) fn dates_as_text(table: &mut Table) {
    fn change(value: &mut Value) {
        match value {
            Value::Datetime(date) => *value = Value::String(date.to_string()),
            Value::Array(items) => items.iter_mut().for_each(change),
            Value::Table(table) => dates_as_text(table),
            _ => {}
        }
    }
    table.iter_mut().for_each(|(_, value)| change(value));
}

section! {
    /// Lab: the policy network and its exploration.
    PolicySection, POLICY {
        LAB kind: PolicyKind = PolicyKind::Tabular, "tabular, or mlp (a multilayer perceptron)";
        LAB width: usize = 256, "mlp: units per hidden layer";
        LAB layers: usize = 2, "mlp: number of hidden layers";
        LAB backward: Backward = Backward::Learned, "the backward policy if an object has several trajectories: learned or uniform";
        LAB exploration: f64 = 0.0, "fraction of the actions drawn uniformly instead of from the policy";
    }
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

section! {
    /// Prompts and rewards of a task. Each task uses its own keys and refuses the others.
    TaskSection, TASK {
        ALL kind: TaskKind = Countdown, "countdown, prompts, bandit, landscape, hypergrid, bits or tree";
        TEXT numbers: Vec<usize> = vec![3], "countdown: how many numbers a problem may have";
        TEXT max_number: u32 = 25, "countdown: the largest number";
        TEXT max_target: i64 = 100, "countdown: the largest target";
        TEXT seed: u64 = 0, "countdown: seed of the order of problems";
        #[serde(skip_serializing_if = "Vec::is_empty", with = "crate::data")]
        TEXT prompts: Vec<Source> = Vec::new(), "prompts: the data file, or a list of several; `FILE,weight=2` visits each row twice in an epoch, see data.md";
        TEXT held_out: Option<PathBuf> = None, "prompts: the data file to evaluate on; absent: every tenth prompt";
        #[serde(skip_serializing_if = "Vec::is_empty", with = "crate::verifiers")]
        TEXT verifier: Vec<String> = Vec::new(), "prompts: the verifier, or a list of several, see verifiers.md; absent: exact";
        TEXT prompt_key: Option<String> = None, "prompts: the key of the prompt in each row; without either key, the shape of the rows decides, see data.md";
        TEXT answer_key: Option<String> = None, "prompts: the key of the answer in each row; a dot descends into an object";
        TEXT system: Option<String> = None, "prompts: a system message before every conversation";
        TEXT max_prompt_tokens: Option<usize> = None, "prompts: the maximum number of tokens in a prompt; absent: what sampling.max_tokens leaves of the context";
        TEXT long_prompts: LongPrompts = LongPrompts::Error, "prompts: what happens to a longer one: error, drop, or truncate, which keeps the end";
        ANSWERS preset: String = BanditPreset::TwoPeaks.name().into(), "the shape of the rewards, by name";
        + ANSWERS seed, "seed of the task's random choices";
        BANDIT size: usize = 64, "number of answers";
        BANDIT reference: BanditReference = BanditReference::Uniform, "reference policy: uniform or random";
        ANSWERS rewards: Option<Vec<f64>> = None, "the reward of each answer, instead of a preset";
        LANDSCAPE reference_weights: Option<Vec<f64>> = None, "π_ref of each answer up to a factor; absent: the preset's, or uniform if rewards are given";
        GRIDS side: usize = 8, "number of points along each dimension";
        HYPERGRID dim: usize = 2, "number of dimensions";
        HYPERGRID reward: HypergridReward = HypergridReward::TorchGfn, "easy, hard, torchgfn or { r0, r1, r2 }";
        BITS bits: usize = 12, "length of a sequence";
        BITS word: usize = 2, "bits written by one action";
        BITS modes: usize = 4, "number of planted modes";
        + BITS seed, "seed of the modes";
        TREE length: usize = 5, "maximum number of symbols in a string";
        TREE symbols: usize = 3, "size of the alphabet";
        + TREE modes, "number of planted modes";
        + TREE seed, "seed of the modes";
    }
}

section! {
    /// Steps, batch sizes, seed and device of training.
    TrainSection, TRAIN {
        ALL steps: u64 = 200, "number of training steps";
        TEXT prompts: usize = 16, "prompts per step";
        TEXT samples: usize = 8, "completions per prompt";
        LAB batch: usize = 128, "trajectories per step";
        TEXT minibatches: usize = 1, "optimiser steps over the completions of a step";
        ALL epochs: usize = 1, "passes over the completions of a step";
        TEXT micro_batch: Option<usize> = None, "prompts in a forward and backward pass, 0: all of a minibatch; absent: as many as fit in memory";
        ALL seed: u64 = 0, "seed of all randomness";
        ALL threads: usize = 0, "0: one per processor; no bit of the result depends on it";
        TEXT device: DeviceName = DeviceName::Cpu, "cpu, cuda, cuda:N or emulated";
        TEXT precision: Precision = Precision::Auto, "auto, bf16, bf16-f32-logits or f32: how the device stores activations and weights";
        LAB arithmetic: Arithmetic = Arithmetic::Fast, "fast, or reference: the same bits on every platform";
        TEXT prompt_order: PromptOrder = PromptOrder::Shuffled, "shuffled, or pass-rate: draw prompts by the pass rate that their log Z tells, see data.md";
        TEXT dynamic_sampling: usize = 0, "extra batches that a step may sample until train.prompts groups have differing rewards, see data.md; 0: none";
        TEXT overlong_buffer: usize = 0, "tokens before sampling.max_tokens over which the overlong penalty grows, see data.md; 0: none";
        TEXT overlong_penalty: f64 = 1.0, "overlong penalty of a completion with sampling.max_tokens tokens";
        TEXT rollouts: Option<PathBuf> = None, "stored completions to learn from instead of sampling, in JSONL";
    }
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

section! {
    /// Length limit and sampling parameters of completions.
    SamplingSection, SAMPLING {
        TEXT max_tokens: Option<usize> = None, "maximum number of tokens in a completion; absent: 512, or less if the longest prompt leaves less of the model's context";
        TEXT stop: Vec<String> = Vec::new(), "texts that end a completion, in addition to the end tokens";
        TEXT wave: Option<usize> = None, "completions sampled at once, 0: as many as the cache holds; absent: as many as fit in memory; no bit of the result depends on it";
        TEXT temperature: f64 = 1.0, "divisor of the logits, in sampling and in scoring";
        TEXT top_k: usize = 0, "keep the k most probable tokens; 0: all";
        TEXT top_p: f64 = 1.0, "keep the most probable tokens, up to this total probability";
    }
}

section! {
    /// AdamW and learning-rate schedule of the policy.
    OptimizerSection, OPTIMIZER {
        ALL learning_rate: f64 = 1e-4, "AdamW: learning rate after the warm-up";
        ALL warmup: u64 = 10, "number of optimiser steps in the warm-up";
        ALL decay: Decay = Decay::Cosine, "learning rate after the warm-up: constant, linear or cosine";
        ALL beta1: f64 = AdamW::default().beta1, "AdamW: decay of the first moment";
        ALL beta2: f64 = AdamW::default().beta2, "AdamW: decay of the second moment";
        ALL eps: f64 = AdamW::default().eps, "AdamW: added to the root of the second moment";
        ALL weight_decay: f64 = AdamW::default().weight_decay, "AdamW: weight decay";
        ALL clip_norm: f64 = 1.0, "maximum norm of the gradient; 0: no clipping";
    }
}

section! {
    /// Optimiser and network of log Z or V, if it is learned.
    LogZSection, LOG_Z {
        ALL learning_rate: f64 = 1e-3, "learning rate of log Z or V, if it is learned";
        ALL weight_decay: f64 = 0.0, "weight decay of log Z or V";
        ALL detach_trunk: bool = false, "stop the gradient of log Z or V at the hidden states";
        ALL layers: usize = PartitionOptions::default().layers, "number of linear layers in the network of log Z or V";
        ALL layer_norm: bool = PartitionOptions::default().layer_norm, "layer normalisation after each GELU";
        ALL dropout: f64 = PartitionOptions::default().dropout, "dropout after each GELU";
        ALL zero_init: bool = PartitionOptions::default().zero_init, "start the last layer at 0";
    }
}

section! {
    /// Frequency and size of evaluations.
    EvalSection, EVAL {
        ALL every: u64 = 50, "steps between evaluations; 0: only before the first and after the last step";
        TEXT prompts: usize = 128, "held-out prompts, of each set; 0: no evaluation";
        TEXT samples: usize = 16, "completions per held-out prompt";
        TEXT greedy: bool = false, "decode one completion of each held-out prompt greedily too";
        #[serde(skip_serializing_if = "Sets::is_empty", deserialize_with = "checked")]
        TEXT sets: Sets = Sets::new(), "data files to evaluate on, by name, see data.md; they take the place of held-out prompts unless task.held_out names some";
        LAB target_beta: Option<f64> = None, "β of the target that the policy is compared with; absent: the objective's, else the task's";
    }
}

section! {
    /// Checkpoints to keep, early stopping and trackers.
    RunSection, RUN {
        ALL save_every: u64 = 50, "steps between checkpoints; 0: only after the last step";
        ALL keep: usize = 2, "number of latest checkpoints to keep";
        ALL best: Option<String> = None, "evaluation metric, such as success; its best checkpoint is kept too, see runs.md";
        ALL patience: u64 = 0, "end the run after this many evaluations in a row without improvement of that metric; 0: never";
        ALL tracker: Vec<Tracker> = Vec::new(), "experiment trackers: a list of tensorboard, wandb, trackio and mlflow, see runs.md";
        ALL python: Option<PathBuf> = None, "interpreter that has wandb, trackio or mlflow; absent: the active virtual environment's, else the first on PATH";
    }
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
