//! Which keys a configuration has: every task its own.

use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::TaskKind;
use TaskKind::{Bandit, Bits, Countdown, Hypergrid, Landscape, Prompts, Tree};

const ALL: &[TaskKind] = TaskKind::ALL;
const TEXT: &[TaskKind] = &[Countdown, Prompts];
const LAB: &[TaskKind] = &[Bandit, Landscape, Hypergrid, Bits, Tree];

/// Section, the tasks that know the keys, keys.
const KEYS: &[(&str, &[TaskKind], &[&str])] = &[
    ("model", TEXT, &["path", "recompute", "template"]),
    ("policy", LAB, &["kind", "width", "layers", "backward", "exploration"]),
    ("task", ALL, &["kind"]),
    ("task", TEXT, &["numbers", "max_number", "max_target", "seed", "prompts", "held_out", "verifier"]),
    ("task", &[Bandit, Landscape], &["preset", "rewards", "seed"]),
    ("task", &[Bandit], &["size", "reference"]),
    ("task", &[Landscape], &["reference_weights"]),
    ("task", &[Hypergrid, Landscape], &["side"]),
    ("task", &[Hypergrid], &["dim", "reward"]),
    ("task", &[Bits], &["bits", "word", "modes", "seed"]),
    ("task", &[Tree], &["length", "symbols", "modes", "seed"]),
    ("objective", ALL, &["kind", "preset", "beta", "length", "reward", "reward_ddof", "reward_eps", "importance"]),
    ("objective", ALL, &["clip_low", "clip_high", "token_mask", "token_clip_low", "token_clip_high", "log_z", "shape"]),
    ("objective", ALL, &["huber_delta", "kl", "kl_in", "aggregate"]),
    ("objective", LAB, &["balance"]),
    ("train", ALL, &["steps", "epochs", "seed", "threads"]),
    ("train", TEXT, &["prompts", "samples", "minibatches", "micro_batch", "device", "precision", "rollouts"]),
    ("train", LAB, &["batch", "arithmetic"]),
    ("sampling", TEXT, &["max_tokens", "temperature", "top_k", "top_p"]),
    ("optimizer", ALL, &["learning_rate", "warmup", "decay", "beta1", "beta2", "eps", "weight_decay", "clip_norm"]),
    ("log_z", ALL, &["learning_rate", "weight_decay", "detach_trunk", "layers", "layer_norm", "dropout", "zero_init"]),
    ("eval", ALL, &["every"]),
    ("eval", TEXT, &["prompts", "samples"]),
    ("eval", LAB, &["target_beta"]),
    ("run", ALL, &["save_every", "keep"]),
];

/// The sections that have `key` in a run of one of `kinds`, in order, each once.
pub(super) fn sections(key: &str, kinds: &[TaskKind]) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(_, known, keys)| keys.contains(&key) && known.iter().any(|k| kinds.contains(k)));
    let mut found: Vec<_> = rows.map(|(section, ..)| *section).collect();
    found.dedup();
    found
}

/// The tasks that know `section.key`; none where nothing is called so.
pub(super) fn tasks(section: &str, key: &str) -> Vec<TaskKind> {
    let rows = KEYS.iter().filter(|(name, _, keys)| *name == section && keys.contains(&key));
    rows.flat_map(|(_, kinds, _)| kinds.iter().copied()).collect()
}

/// The keys of a section in a run of this task.
pub(super) fn of(section: &str, kind: TaskKind) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(name, kinds, _)| *name == section && kinds.contains(&kind));
    rows.flat_map(|(_, _, keys)| keys.iter().copied()).collect()
}

/// Refuses the keys of other tasks. What no task knows is left to the parser, which knows the line.
pub(super) fn check(table: &Table, kind: TaskKind) -> Result<(), Foreign> {
    for (section, keys) in table {
        for key in keys.as_table().into_iter().flat_map(Table::keys) {
            let tasks = tasks(section, key);
            if !tasks.is_empty() && !tasks.contains(&kind) {
                return Err(Foreign { section: section.clone(), key: key.clone(), tasks, kind, place: String::new() });
            }
        }
    }
    Ok(())
}

/// Leaves the keys of this task.
pub(super) fn retain(table: &mut Table, kind: TaskKind) {
    table.retain(|section, keys| {
        let Value::Table(keys) = keys else { return true };
        let any = KEYS.iter().any(|(name, kinds, _)| *name == section && kinds.contains(&kind));
        keys.retain(|key, _| tasks(section, key).contains(&kind));
        any
    });
}

/// A key of another task.
#[derive(Debug)]
pub(super) struct Foreign {
    section: String,
    key: String,
    tasks: Vec<TaskKind>,
    kind: TaskKind,
    place: String,
}

impl Foreign {
    /// Adds the file and the line.
    pub(super) fn in_file(mut self, file: &Path, text: &str) -> Self {
        let document = toml::de::DeTable::parse(text).ok();
        let section = document.as_ref().and_then(|document| document.get_ref().get(self.section.as_str()));
        let mut keys =
            section.and_then(|section| section.get_ref().as_table()).into_iter().flat_map(|keys| keys.iter());
        let start = keys.find(|(key, _)| key.get_ref() == self.key.as_str()).map(|(key, _)| key.span().start);
        let line = start.map(|start| format!(":{}", 1 + text[..start].matches('\n').count()));
        self.place = format!("{}{}: ", file.display(), line.unwrap_or_default());
        self
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, key, tasks, kind, place } = self;
        let names: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
        let known = names.join(", ");
        write!(
            f,
            "{place}`{section}.{key}` belongs to {known}, but this run's task is {kind}: remove it, or name the task by --task"
        )
    }
}

impl std::error::Error for Foreign {}
