//! The keys of a configuration, their meanings, and the tasks that accept them.

use std::fmt;

use flowrl_core::objective::OPTIONS;
use flowrl_lab::LabKind::{Bandit, Bits, Hypergrid, Landscape, Tree};
use toml::{Table, Value};

use super::TaskKind;
use crate::suggest::did_you_mean;
use TaskKind::{Countdown, Lab, Prompts};

const ALL: &[TaskKind] = TaskKind::ALL;
const TEXT: &[TaskKind] = &[Countdown, Prompts];
const LAB: &[TaskKind] = &[Lab(Bandit), Lab(Landscape), Lab(Hypergrid), Lab(Bits), Lab(Tree)];

/// A key and its meaning.
pub(crate) type Key = (&'static str, &'static str);

/// Sections with the tasks that accept the keys, and the keys. `docs/configuration.md` lists all of them; a dry run
/// lists those that are absent.
const KEYS: &[(&str, &[TaskKind], &[Key])] = &[
    (
        "model",
        TEXT,
        &[
            ("path", "Hugging Face folder of the model; absent: the small built-in model"),
            (
                "recompute",
                "recompute a layer's activations in the backward pass: less memory, a third more time; absent: only if memory requires it",
            ),
            (
                "template",
                "variables of the chat template by name, such as enable_thinking; date sets the day that it prints, see chat-templates.md",
            ),
        ],
    ),
    (
        "policy",
        LAB,
        &[
            ("kind", "tabular, or mlp (a multilayer perceptron)"),
            ("width", "mlp: units per hidden layer"),
            ("layers", "mlp: number of hidden layers"),
            ("backward", "the backward policy if an object has several trajectories: learned or uniform"),
            ("exploration", "fraction of the actions drawn uniformly instead of from the policy"),
        ],
    ),
    ("task", ALL, &[("kind", "countdown, prompts, bandit, landscape, hypergrid, bits or tree")]),
    (
        "task",
        TEXT,
        &[
            ("numbers", "countdown: how many numbers a problem may have"),
            ("max_number", "countdown: the largest number"),
            ("max_target", "countdown: the largest target"),
            ("seed", "countdown: seed of the order of problems"),
            ("prompts", "prompts: the JSONL file"),
            ("held_out", "prompts: the JSONL file to evaluate on; absent: every tenth prompt"),
            ("verifier", "prompts: countdown, exact or number, see verifiers.md; absent: exact"),
            ("prompt_key", "prompts: the key of the prompt in each line"),
            ("answer_key", "prompts: the key of the answer in each line; a dot descends into an object"),
        ],
    ),
    (
        "task",
        &[Lab(Bandit), Lab(Landscape)],
        &[
            ("preset", "the shape of the rewards, by name"),
            ("rewards", "the reward of each answer, instead of a preset"),
            ("seed", "seed of the task's random choices"),
        ],
    ),
    ("task", &[Lab(Bandit)], &[("size", "number of answers"), ("reference", "reference policy: uniform or random")]),
    (
        "task",
        &[Lab(Landscape)],
        &[(
            "reference_weights",
            "π_ref of each answer up to a factor; absent: the preset's, or uniform if rewards are given",
        )],
    ),
    ("task", &[Lab(Hypergrid), Lab(Landscape)], &[("side", "number of points along each dimension")]),
    (
        "task",
        &[Lab(Hypergrid)],
        &[("dim", "number of dimensions"), ("reward", "easy, hard, torchgfn or { r0, r1, r2 }")],
    ),
    (
        "task",
        &[Lab(Bits)],
        &[
            ("bits", "length of a sequence"),
            ("word", "bits written by one action"),
            ("modes", "number of planted modes"),
            ("seed", "seed of the modes"),
        ],
    ),
    (
        "task",
        &[Lab(Tree)],
        &[
            ("length", "maximum number of symbols in a string"),
            ("symbols", "size of the alphabet"),
            ("modes", "number of planted modes"),
            ("seed", "seed of the modes"),
        ],
    ),
    (
        "objective",
        ALL,
        &[
            ("preset", "the objective by name, see presets.md"),
            ("kind", "alias of preset; `flowrl` may be combined with a preset of FlowRL"),
        ],
    ),
    ("objective", ALL, OPTIONS),
    (
        "train",
        ALL,
        &[
            ("steps", "number of training steps"),
            ("epochs", "passes over the completions of a step"),
            ("seed", "seed of all randomness"),
            ("threads", "0: one per processor; no bit of the result depends on it"),
        ],
    ),
    (
        "train",
        TEXT,
        &[
            ("prompts", "prompts per step"),
            ("samples", "completions per prompt"),
            ("minibatches", "optimiser steps over the completions of a step"),
            (
                "dynamic_sampling",
                "extra batches that a step may sample until train.prompts groups have differing rewards, see data.md; 0: none",
            ),
            (
                "overlong_buffer",
                "tokens before sampling.max_tokens over which the overlong penalty grows, see data.md; 0: none",
            ),
            ("overlong_penalty", "overlong penalty of a completion with sampling.max_tokens tokens"),
            (
                "micro_batch",
                "prompts in a forward and backward pass, 0: all of a minibatch; absent: as many as fit in memory",
            ),
            ("device", "cpu, cuda, cuda:N or emulated"),
            ("precision", "auto, bf16, bf16-f32-logits or f32: how the device stores activations and weights"),
            ("rollouts", "stored completions to learn from instead of sampling, in JSONL"),
        ],
    ),
    (
        "train",
        LAB,
        &[("batch", "trajectories per step"), ("arithmetic", "fast, or reference: the same bits on every platform")],
    ),
    (
        "sampling",
        TEXT,
        &[
            (
                "max_tokens",
                "maximum number of tokens in a completion; absent: 512, or less if the longest prompt leaves less of the model's context",
            ),
            ("stop", "texts that end a completion, in addition to the end tokens"),
            (
                "wave",
                "completions sampled at once, 0: as many as the cache holds; absent: as many as fit in memory; no bit of the result depends on it",
            ),
            ("temperature", "divisor of the logits, in sampling and in scoring"),
            ("top_k", "keep the k most probable tokens; 0: all"),
            ("top_p", "keep the most probable tokens, up to this total probability"),
        ],
    ),
    (
        "optimizer",
        ALL,
        &[
            ("learning_rate", "AdamW: learning rate after the warm-up"),
            ("warmup", "number of optimiser steps in the warm-up"),
            ("decay", "learning rate after the warm-up: constant, linear or cosine"),
            ("beta1", "AdamW: decay of the first moment"),
            ("beta2", "AdamW: decay of the second moment"),
            ("eps", "AdamW: added to the root of the second moment"),
            ("weight_decay", "AdamW: weight decay"),
            ("clip_norm", "maximum norm of the gradient; 0: no clipping"),
        ],
    ),
    (
        "log_z",
        ALL,
        &[
            ("learning_rate", "learning rate of log Z or V, if it is learned"),
            ("weight_decay", "weight decay of log Z or V"),
            ("detach_trunk", "stop the gradient of log Z or V at the hidden states"),
            ("layers", "number of linear layers in the network of log Z or V"),
            ("layer_norm", "layer normalisation after each GELU"),
            ("dropout", "dropout after each GELU"),
            ("zero_init", "start the last layer at 0"),
        ],
    ),
    ("eval", ALL, &[("every", "steps between evaluations; 0: only before the first and after the last step")]),
    (
        "eval",
        TEXT,
        &[("prompts", "held-out prompts; 0: no evaluation"), ("samples", "completions per held-out prompt")],
    ),
    (
        "eval",
        LAB,
        &[(
            "target_beta",
            "β of the target that the policy is compared with; absent: the objective's, else the task's",
        )],
    ),
    (
        "run",
        ALL,
        &[
            ("save_every", "steps between checkpoints; 0: only after the last step"),
            ("keep", "number of latest checkpoints to keep"),
            ("best", "evaluation metric, such as success; its best checkpoint is kept too, see runs.md"),
            (
                "patience",
                "end the run after this many evaluations in a row without improvement of that metric; 0: never",
            ),
            ("tracker", "experiment trackers: a list of tensorboard, wandb, trackio and mlflow, see runs.md"),
            (
                "python",
                "interpreter that has wandb, trackio or mlflow; absent: the active virtual environment's, else the first on PATH",
            ),
        ],
    ),
];

/// Returns every section of a run of this task, with its keys.
pub(super) fn of_task(kind: TaskKind) -> Vec<(&'static str, Vec<Key>)> {
    let mut sections: Vec<(&str, Vec<Key>)> = Vec::new();
    for (section, _, keys) in KEYS.iter().filter(|(_, kinds, _)| kinds.contains(&kind)) {
        match sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, known)) => known.extend(*keys),
            None => sections.push((section, keys.to_vec())),
        }
    }
    sections
}

/// Formats all keys as Markdown tables, one per section, with the tasks that accept them.
pub(super) fn markdown() -> String {
    let mut text = String::new();
    let mut last = "";
    for (section, kinds, keys) in KEYS {
        if *section != last {
            text += &format!("\n## [{section}]\n\n| key | tasks | meaning |\n|---|---|---|\n");
            last = section;
        }
        let tasks = match *kinds {
            all if all == ALL => "all".to_owned(),
            text if text == TEXT => "language models".to_owned(),
            lab if lab == LAB => "lab".to_owned(),
            some => some.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        for (key, meaning) in *keys {
            text += &format!("| `{key}` | {tasks} | {} |\n", meaning.replace('|', "\\|"));
        }
    }
    text
}

/// Returns the sections that have `key` in a run of one of `kinds`, in order and without duplicates.
pub(super) fn sections(key: &str, kinds: &[TaskKind]) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(_, known, keys)| {
        keys.iter().any(|(name, _)| *name == key) && known.iter().any(|k| kinds.contains(k))
    });
    let mut found: Vec<_> = rows.map(|(section, ..)| *section).collect();
    found.dedup();
    found
}

/// Returns the tasks that accept `section.key`; none if there is no such key.
pub(super) fn tasks(section: &str, key: &str) -> Vec<TaskKind> {
    let rows = KEYS.iter().filter(|(name, _, keys)| *name == section && keys.iter().any(|(name, _)| *name == key));
    rows.flat_map(|(_, kinds, _)| kinds.iter().copied()).collect()
}

/// Returns the keys of a section in a run of this task.
pub(super) fn of(section: &str, kind: TaskKind) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(name, kinds, _)| *name == section && kinds.contains(&kind));
    rows.flat_map(|(_, _, keys)| keys.iter().map(|(key, _)| *key)).collect()
}

/// Refuses the keys of other tasks, and unknown keys.
pub(super) fn check(table: &Table, kind: TaskKind) -> Result<(), WrongKey> {
    for (section, keys) in table {
        let wrong =
            |key: &str, tasks| WrongKey { section: section.clone(), key: key.to_owned(), tasks, kind, place: None };
        if !KEYS.iter().any(|(name, ..)| name == section) {
            return Err(wrong("", Vec::new()));
        }
        for key in keys.as_table().into_iter().flat_map(Table::keys) {
            let tasks = tasks(section, key);
            if !tasks.contains(&kind) {
                return Err(wrong(key, tasks));
            }
        }
    }
    Ok(())
}

/// Removes the sections and keys of other tasks.
pub(super) fn retain(table: &mut Table, kind: TaskKind) {
    table.retain(|section, keys| {
        let Value::Table(keys) = keys else { return true };
        let any = KEYS.iter().any(|(name, kinds, _)| *name == section && kinds.contains(&kind));
        keys.retain(|key, _| tasks(section, key).contains(&kind));
        any
    });
}

/// The error of a key that a run of this task does not have.
#[derive(Debug)]
pub(super) struct WrongKey {
    section: String,
    /// Empty if there is no such section.
    key: String,
    /// Tasks that accept the key; empty if it is unknown.
    tasks: Vec<TaskKind>,
    kind: TaskKind,
    place: Option<String>,
}

impl WrongKey {
    /// Adds the file and the line to the error.
    pub(super) fn in_file(mut self, file: &str, text: &str) -> Self {
        let document = toml::de::DeTable::parse(text).ok();
        let section = document.as_ref().and_then(|document| document.get_ref().get_key_value(self.section.as_str()));
        let start = section.and_then(|(name, section)| {
            let keys = section.get_ref().as_table().into_iter().flat_map(|keys| keys.keys());
            let key = keys.into_iter().find(|key| key.get_ref() == self.key.as_str());
            key.map(|key| key.span().start).or_else(|| self.key.is_empty().then(|| name.span().start))
        });
        let line = start.map(|start| format!(":{}", 1 + text[..start].matches('\n').count()));
        self.place = Some(format!("{file}{}: ", line.unwrap_or_default()));
        self
    }
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { section, key, tasks, kind, place } = self;
        f.write_str(place.as_deref().unwrap_or_default())?;
        if key.is_empty() {
            let known: Vec<_> = of_task(*kind).into_iter().map(|(name, _)| name).collect();
            let guess = did_you_mean(section, known.iter().copied());
            return write!(f, "unknown section [{section}]{guess}: task {kind} has {}", known.join(", "));
        }
        if tasks.is_empty() {
            let known = of(section, *kind);
            let guess = did_you_mean(key, known.iter().copied());
            return write!(
                f,
                "unknown option `{section}.{key}`{guess}: [{section}] of task {kind} has {}",
                known.join(", ")
            );
        }
        let known: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
        write!(
            f,
            "`{section}.{key}` belongs to {}, but this run's task is {kind}: remove it, or choose the task with --task",
            known.join(", ")
        )
    }
}

impl std::error::Error for WrongKey {}
