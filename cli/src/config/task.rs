//! `[task]`: the task to learn, and the defaults that suit it.

use std::path::PathBuf;

use clap::ValueEnum;
use clap::builder::PossibleValue;
use flowrl_core::optim::Decay;
use flowrl_lab::{BanditPreset, BanditReference, HypergridReward, LabKind, LandscapePreset};
use serde::{Deserialize, Serialize};

use super::{
    Config, EvalSection, LogZSection, OptimizerSection, PolicyKind, PolicySection, RunSection, SamplingSection,
    TrainSection,
};

/// The kind of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Generated Countdown problems.
    #[default]
    Countdown,
    /// Prompts of a JSONL file.
    Prompts,
    /// A task of the lab: its target is known exactly, and a small policy learns it.
    #[serde(untagged)]
    Lab(LabKind),
}

impl TaskKind {
    /// Every task.
    pub const ALL: &'static [Self] = &{
        let mut all = [Self::Countdown; 2 + LabKind::ALL.len()];
        all[1] = Self::Prompts;
        let mut i = 0;
        while i < LabKind::ALL.len() {
            all[2 + i] = Self::Lab(LabKind::ALL[i]);
            i += 1;
        }
        all
    };

    /// Returns its name in a file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Countdown => "countdown",
            Self::Prompts => "prompts",
            Self::Lab(kind) => kind.name(),
        }
    }

    /// Returns whether this is a task of the lab.
    pub const fn is_lab(self) -> bool {
        matches!(self, Self::Lab(_))
    }

    /// Returns a β for a task of the lab at which the target is neither the reference nor concentrated on one object.
    pub const fn beta(self) -> f64 {
        match self {
            Self::Lab(LabKind::Bandit) => 10.0,
            Self::Lab(LabKind::Landscape) => 6.0,
            Self::Lab(LabKind::Tree) => 5.0,
            // r = ln R, so β = 1 is the target of the GFlowNet papers.
            _ => 1.0,
        }
    }

    /// Returns whether an object has several trajectories.
    pub const fn is_graph(self) -> bool {
        matches!(self, Self::Lab(LabKind::Hypergrid))
    }
}

impl ValueEnum for TaskKind {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let value = PossibleValue::new(self.name());
        Some(match self {
            Self::Countdown => value.help("Generated Countdown problems"),
            Self::Prompts => value.help("Prompts of a JSONL file"),
            Self::Lab(kind) => value.help(format!("Lab: {}", kind.description())),
        })
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Prompts and rewards of a task. Each task uses its own keys and refuses the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TaskSection {
    /// Kind of the task, which decides the other keys.
    pub kind: TaskKind,
    /// Countdown: counts of numbers that a problem may have.
    pub numbers: Vec<usize>,
    /// Countdown: the largest number.
    pub max_number: u32,
    /// Countdown: the largest target.
    pub max_target: i64,
    /// Seed of the order of problems in Countdown, and of the task's random choices in the lab.
    pub seed: u64,
    /// Prompts: the JSONL file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompts: Option<PathBuf>,
    /// Prompts: the JSONL file for evaluation. Absent means that every tenth row of `prompts` is held out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_out: Option<PathBuf>,
    /// Prompts: the verifier, `countdown`, `exact` or `number`. Absent means `exact`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verifier: Option<String>,
    /// Prompts: the key of the prompt in each line.
    pub prompt_key: String,
    /// Prompts: the key of the answer in each line; a dot descends into an object.
    pub answer_key: String,
    /// Bandit and landscape: the shape of the rewards, by the name of one of the task's presets.
    pub preset: String,
    /// Bandit: the number of answers.
    pub size: usize,
    /// Bandit: the reference policy, `uniform` or `random`.
    pub reference: BanditReference,
    /// Rewards instead of a preset. Bandit: the reward of each answer, which also sets the size; the reference is then
    /// uniform. Landscape: the reward of each of side² answers, row by row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewards: Option<Vec<f64>>,
    /// Landscape: π_ref of each answer up to a common factor. Absent means the preset's, or uniform if `rewards` is
    /// given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_weights: Option<Vec<f64>>,
    /// Hypergrid: points along a dimension. Landscape: the number of rows and of columns.
    pub side: usize,
    /// Hypergrid: the number of dimensions.
    pub dim: usize,
    /// Hypergrid: the reward, `easy`, `hard`, `torchgfn` or `{ r0, r1, r2 }`.
    pub reward: HypergridReward,
    /// Bits: the length of a sequence.
    pub bits: usize,
    /// Bits: the number of bits that one action writes.
    pub word: usize,
    /// Bits and tree: the number of planted modes.
    pub modes: usize,
    /// Tree: the maximum number of symbols in a string.
    pub length: usize,
    /// Tree: the size of the alphabet.
    pub symbols: usize,
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
            verifier: None,
            prompt_key: "prompt".into(),
            answer_key: "answer".into(),
            preset: BanditPreset::TwoPeaks.name().into(),
            size: 64,
            reference: BanditReference::Uniform,
            rewards: None,
            reference_weights: None,
            side: 8,
            dim: 2,
            reward: HypergridReward::TorchGfn,
            bits: 12,
            word: 2,
            modes: 4,
            length: 5,
            symbols: 3,
        }
    }
}

impl Config {
    /// Returns the defaults of a language model. A real model answers in sentences, is slow to sample, and is damaged
    /// by a large learning rate.
    fn of_text(long_answers: bool, own_model: bool) -> Self {
        let mut config = Self::default();
        if long_answers {
            config.train = TrainSection { prompts: 8, samples: 8, ..config.train };
            config.eval = EvalSection { prompts: 32, samples: 4, ..config.eval };
        } else {
            config.model.recompute = Some(false);
            config.train.micro_batch = Some(0);
            config.sampling = SamplingSection { max_tokens: Some(16), wave: Some(0), ..config.sampling };
        }
        if own_model {
            config.optimizer.learning_rate = 2e-6;
        }
        config
    }

    /// Returns the defaults of a task. Those of the lab converge within seconds on one core. Those of a language model
    /// depend on whether this is the user's own (`own_model`).
    pub fn of(kind: TaskKind, own_model: bool) -> Self {
        let mut task = TaskSection { kind, ..TaskSection::default() };
        if !kind.is_lab() {
            return Self { task, ..Self::of_text(own_model || kind == TaskKind::Prompts, own_model) };
        }
        if kind == TaskKind::Lab(LabKind::Landscape) {
            LandscapePreset::FourPeaks.name().clone_into(&mut task.preset);
            task.side = 16;
        }
        let graph = kind.is_graph();
        let (learning_rate, steps) = match kind {
            TaskKind::Lab(LabKind::Hypergrid) => (1e-3, 400),
            TaskKind::Lab(LabKind::Bandit) => (1e-1, 4000),
            TaskKind::Lab(LabKind::Bits) => (5e-2, 3000),
            _ => (2e-2, 2000),
        };
        Self {
            task,
            policy: PolicySection {
                kind: if graph { PolicyKind::Mlp } else { PolicyKind::Tabular },
                ..PolicySection::default()
            },
            train: TrainSection { steps, threads: 1, ..TrainSection::default() },
            optimizer: OptimizerSection {
                learning_rate,
                warmup: 0,
                decay: if graph { Decay::Constant } else { Decay::Cosine },
                clip_norm: 0.0,
                ..OptimizerSection::default()
            },
            log_z: LogZSection { learning_rate: 0.1, ..LogZSection::default() },
            eval: EvalSection { every: 10, ..EvalSection::default() },
            run: RunSection { save_every: 100, ..RunSection::default() },
            ..Self::default()
        }
    }
}
