//! One type for all tasks of the lab, with names for their objects.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use flowrl_core::Real;
use flowrl_core::objective;
use flowrl_lab::{
    Bandit, BanditOptions, Bits, BitsOptions, Environment, Error, Hypergrid, Landscape, LandscapeOptions, Outcome,
    Strings, StringsOptions,
};

use crate::config::{TaskKind, TaskSection};

/// A task of the lab.
#[derive(Clone, Debug)]
pub enum Lab {
    /// A finite set of answers.
    Bandit(Bandit),
    /// A square of answers of two tokens each.
    Landscape(Landscape),
    /// The grid of the GFlowNet benchmark.
    Hypergrid(Hypergrid),
    /// Sequences of bits with planted modes, and the length of a sequence.
    Bits(Bits, usize),
    /// Strings of varying length.
    Tree(Strings),
}

impl Lab {
    /// Opens the task that a configuration describes.
    ///
    /// # Errors
    /// Returns an error if an option is out of range or the task is not of the lab.
    pub fn open(task: &TaskSection) -> Result<Self> {
        let TaskSection { seed, modes, .. } = *task;
        match task.kind {
            TaskKind::Bandit => match &task.rewards {
                None => {
                    let TaskSection { size, reference, .. } = *task;
                    Bandit::preset(BanditOptions { preset: preset(task)?, size, reference, seed }).map(Self::Bandit)
                }
                Some(rewards) => {
                    ensure!(!rewards.is_empty(), "task.rewards is empty, but must hold a reward for each answer");
                    let uniform = -<f64 as Real>::ln(rewards.len() as f64);
                    Bandit::new(rewards, &vec![uniform; rewards.len()]).map(Self::Bandit)
                }
            },
            TaskKind::Landscape => {
                let options = LandscapeOptions { preset: preset(task)?, side: task.side, seed };
                landscape(options, task.rewards.as_deref(), task.reference_weights.as_deref()).map(Self::Landscape)
            }
            TaskKind::Hypergrid => Hypergrid::new(task.side, task.dim, task.reward).map(Self::Hypergrid),
            TaskKind::Bits => {
                let TaskSection { bits, word, .. } = *task;
                Bits::from_options(BitsOptions { bits, word, modes, seed }).map(|task| Self::Bits(task, bits))
            }
            TaskKind::Tree => {
                let TaskSection { length, symbols, .. } = *task;
                Strings::new(StringsOptions { length, symbols, modes, seed }).map(Self::Tree)
            }
            TaskKind::Countdown | TaskKind::Prompts => anyhow::bail!("task {} is not of the lab", task.kind),
        }
        .with_context(|| match task.kind {
            TaskKind::Landscape => format!("task landscape of side {}", task.side),
            kind => format!("task {kind}"),
        })
    }

    /// Formats an object for people, for example `(3, 5)`, `0110` or `abba`.
    pub fn name(&self, object: usize) -> String {
        match self {
            Self::Bandit(_) => object.to_string(),
            Self::Landscape(square) => format!("({}, {})", object / square.side(), object % square.side()),
            Self::Hypergrid(grid) => {
                let places: Vec<String> = grid.coordinates(object).map(|k| k.to_string()).collect();
                format!("({})", places.join(", "))
            }
            Self::Bits(_, bits) => format!("{object:0bits$b}"),
            Self::Tree(strings) if object == 0 && strings.symbols_of(0).is_empty() => "(empty)".to_owned(),
            Self::Tree(strings) => {
                let symbols = strings.symbols_of(object);
                let letter =
                    |symbol: &usize| u32::try_from(*symbol).ok().and_then(|s| char::from_u32(u32::from('a') + s));
                if strings.actions() <= 27 {
                    symbols.iter().filter_map(letter).collect()
                } else {
                    symbols.iter().map(usize::to_string).collect::<Vec<_>>().join(".")
                }
            }
        }
    }

    /// Returns whether each object has one trajectory, which means that there is a reference policy.
    pub fn is_tree(&self) -> bool {
        self.parents() == 0
    }
}

/// Parses `task.preset` as one of the presets of this task.
fn preset<P: FromStr<Err = objective::Error>>(task: &TaskSection) -> Result<P> {
    task.preset.parse().map_err(|error| anyhow!("task.preset is `{}`: {error}", task.preset))
}

/// Opens a landscape with the given rewards and reference weights. Without rewards, this uses the preset's; without
/// weights, the reference is uniform if rewards are given, else the preset's.
fn landscape(
    options: LandscapeOptions,
    rewards: Option<&[f64]>,
    weights: Option<&[f64]>,
) -> std::result::Result<Landscape, Error> {
    match (rewards, weights) {
        (None, None) => Landscape::preset(options),
        (None, Some(weights)) => Landscape::weighted(options.side, Landscape::preset(options)?.rewards(), weights),
        (Some(rewards), Some(weights)) => Landscape::weighted(options.side, rewards, weights),
        (Some(rewards), None) => Landscape::weighted(options.side, rewards, &vec![1.0; rewards.len()]),
    }
}

/// Evaluates `$body` with `$task` bound to the task inside `$lab`.
macro_rules! within {
    ($lab:expr, $task:ident => $body:expr) => {
        match $lab {
            Lab::Bandit($task) => $body,
            Lab::Landscape($task) => $body,
            Lab::Hypergrid($task) => $body,
            Lab::Bits($task, _) => $body,
            Lab::Tree($task) => $body,
        }
    };
}

impl Environment for Lab {
    fn states(&self) -> usize {
        within!(self, task => task.states())
    }

    fn objects(&self) -> usize {
        within!(self, task => task.objects())
    }

    fn actions(&self) -> usize {
        within!(self, task => task.actions())
    }

    fn max_length(&self) -> usize {
        within!(self, task => task.max_length())
    }

    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        within!(self, task => task.step(state, action))
    }

    fn reward(&self, object: usize) -> f64 {
        within!(self, task => task.reward(object))
    }

    fn is_mode(&self, object: usize) -> bool {
        within!(self, task => task.is_mode(object))
    }

    fn log_reference(&self, state: usize, action: usize) -> f64 {
        within!(self, task => task.log_reference(state, action))
    }

    fn parents(&self) -> usize {
        within!(self, task => task.parents())
    }

    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        within!(self, task => task.parent(state, k))
    }

    fn features(&self) -> usize {
        within!(self, task => task.features())
    }

    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        within!(self, task => task.describe(state, ones));
    }
}
