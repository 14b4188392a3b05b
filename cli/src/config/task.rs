//! `[task]`: the task to learn, and the defaults that suit it.

use clap::ValueEnum;
use clap::builder::PossibleValue;
use flowrl_core::optim::Decay;
use flowrl_lab::{LabKind, LandscapePreset};
use serde::{Deserialize, Serialize};

use super::{
    Config, EvalSection, LogZSection, OptimizerSection, PolicyKind, PolicySection, RunSection, SamplingSection,
    TaskSection, TrainSection,
};

/// The kind of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TaskKind {
    /// Generated Countdown problems.
    #[default]
    Countdown,
    /// Prompts of data files.
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
            Self::Prompts => value.help("Prompts of data files"),
            Self::Lab(kind) => value.help(format!("Lab: {}", kind.description())),
        })
    }
}

impl std::fmt::Display for TaskKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
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
