//! Which keys a configuration has, and what they mean: every task its own.

use std::fmt;

use flowrl_core::objective::OPTIONS;
use toml::{Table, Value};

use super::TaskKind;
use crate::suggest::did_you_mean;
use TaskKind::{Bandit, Bits, Countdown, Hypergrid, Landscape, Prompts, Tree};

const ALL: &[TaskKind] = TaskKind::ALL;
const TEXT: &[TaskKind] = &[Countdown, Prompts];
const LAB: &[TaskKind] = &[Bandit, Landscape, Hypergrid, Bits, Tree];

/// A key with what it means.
pub(crate) type Key = (&'static str, &'static str);

/// Section, the tasks that know the keys, keys: `docs/configuration.md` lists them, and a dry run those that are absent.
const KEYS: &[(&str, &[TaskKind], &[Key])] = &[
    (
        "model",
        TEXT,
        &[
            ("path", "Hugging Face folder of the model; absent: the small model in the program"),
            (
                "recompute",
                "compute a layer's activations again in the backward pass: less memory, a third more time; absent: if memory asks for it",
            ),
            (
                "template",
                "variables of the chat template by name, such as enable_thinking; date is the day that it prints, see chat-templates.md",
            ),
        ],
    ),
    (
        "policy",
        LAB,
        &[
            ("kind", "tabular, or mlp: a multilayer perceptron"),
            ("width", "mlp: units of a hidden layer"),
            ("layers", "mlp: hidden layers"),
            ("backward", "the backward policy where an object has several trajectories: learned or uniform"),
            ("exploration", "share of the actions drawn uniformly instead of from the policy"),
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
            ("seed", "countdown: the order of problems"),
            ("prompts", "prompts: the JSONL file"),
            ("held_out", "prompts: the JSONL file to evaluate on; absent: every tenth prompt"),
            ("verifier", "prompts: countdown, exact or number, see verifiers.md; absent: exact"),
            ("prompt_key", "prompts: the key of a line that holds the prompt"),
            ("answer_key", "prompts: the key of a line that holds the answer; a dot leads into an object"),
        ],
    ),
    (
        "task",
        &[Bandit, Landscape],
        &[
            ("preset", "the shape of the rewards, by name"),
            ("rewards", "the reward of each answer, instead of a preset"),
            ("seed", "of what is random in the task"),
        ],
    ),
    ("task", &[Bandit], &[("size", "answers"), ("reference", "uniform or random")]),
    (
        "task",
        &[Landscape],
        &[(
            "reference_weights",
            "π_ref of each answer up to a factor; absent: the preset's, or uniform beside rewards",
        )],
    ),
    ("task", &[Hypergrid, Landscape], &[("side", "points along a dimension")]),
    ("task", &[Hypergrid], &[("dim", "dimensions"), ("reward", "easy, hard, torchgfn or { r0, r1, r2 }")]),
    (
        "task",
        &[Bits],
        &[
            ("bits", "length of a sequence"),
            ("word", "bits that one action writes"),
            ("modes", "planted modes"),
            ("seed", "of the modes"),
        ],
    ),
    (
        "task",
        &[Tree],
        &[
            ("length", "symbols of a string at most"),
            ("symbols", "size of the alphabet"),
            ("modes", "planted modes"),
            ("seed", "of the modes"),
        ],
    ),
    (
        "objective",
        ALL,
        &[
            ("preset", "what is learned, by name: see presets.md"),
            ("kind", "another name of preset; `flowrl` may stand beside a preset of FlowRL"),
        ],
    ),
    ("objective", ALL, OPTIONS),
    (
        "train",
        ALL,
        &[
            ("steps", "training steps"),
            ("epochs", "passes over the completions of a step"),
            ("seed", "seed of everything random"),
            ("threads", "0: one for each processor; changes no bit"),
        ],
    ),
    (
        "train",
        TEXT,
        &[
            ("prompts", "prompts of a step"),
            ("samples", "completions of a prompt"),
            ("minibatches", "optimiser steps over the completions of a step"),
            (
                "dynamic_sampling",
                "batches that a step may sample beyond its first until the rewards of train.prompts groups differ, see data.md; 0: none",
            ),
            (
                "overlong_buffer",
                "tokens before sampling.max_tokens over which the overlong penalty grows, see data.md; 0: none",
            ),
            ("overlong_penalty", "what it takes off the reward at sampling.max_tokens"),
            (
                "micro_batch",
                "prompts in a forward and backward pass, 0: all of a minibatch; absent: as many as fit memory",
            ),
            ("device", "cpu, cuda, cuda:N or emulated"),
            ("precision", "auto, bf16, bf16-f32-logits or f32: how the device stores activations and weights"),
            ("rollouts", "stored completions to learn from instead of sampling, in JSONL"),
        ],
    ),
    (
        "train",
        LAB,
        &[("batch", "trajectories of a step"), ("arithmetic", "fast, or reference: the same bits on every platform")],
    ),
    (
        "sampling",
        TEXT,
        &[
            (
                "max_tokens",
                "tokens of a completion at most; absent: 512, or what the longest prompt leaves of the model's context",
            ),
            ("stop", "texts that end a completion besides the end tokens"),
            (
                "wave",
                "completions sampled at once, 0: as many as the cache holds; absent: as many as fit memory; changes no bit",
            ),
            ("temperature", "logits are divided by it, in sampling and in scoring"),
            ("top_k", "keep the k most probable tokens; 0: all"),
            ("top_p", "keep the most probable tokens up to this probability"),
        ],
    ),
    (
        "optimizer",
        ALL,
        &[
            ("learning_rate", "AdamW: learning rate after the warm-up"),
            ("warmup", "optimiser steps of warm-up"),
            ("decay", "after the warm-up: constant, linear or cosine"),
            ("beta1", "AdamW: decay of the first moment"),
            ("beta2", "AdamW: decay of the second moment"),
            ("eps", "AdamW: added to the root of the second moment"),
            ("weight_decay", "AdamW: weight decay"),
            ("clip_norm", "largest norm of the gradient; 0: no clipping"),
        ],
    ),
    (
        "log_z",
        ALL,
        &[
            ("learning_rate", "of log Z or V, where it is learned"),
            ("weight_decay", "its weight decay"),
            ("detach_trunk", "stop its gradient at the hidden states"),
            ("layers", "linear layers of its network"),
            ("layer_norm", "layer normalisation after each GELU"),
            ("dropout", "dropout after each GELU"),
            ("zero_init", "start the last layer at 0"),
        ],
    ),
    ("eval", ALL, &[("every", "steps between evaluations; 0: before the first and after the last step alone")]),
    ("eval", TEXT, &[("prompts", "held-out prompts; 0: no evaluation"), ("samples", "completions of each")]),
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
            ("save_every", "steps between checkpoints; 0: after the last step alone"),
            ("keep", "checkpoints kept"),
            ("best", "metric of evaluations, such as success, whose best checkpoint is kept besides, see runs.md"),
            ("patience", "end after so many evaluations in a row without improvement of that metric; 0: never"),
            ("tracker", "experiment trackers: a list of tensorboard, wandb, trackio and mlflow, see runs.md"),
            (
                "python",
                "interpreter that has wandb, trackio or mlflow; absent: the active virtual environment's, else the first on PATH",
            ),
        ],
    ),
];

/// Every section of a run of this task, with its keys.
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

/// All keys as Markdown tables, a section each, with the tasks that know them.
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

/// The sections that have `key` in a run of one of `kinds`, in order, each once.
pub(super) fn sections(key: &str, kinds: &[TaskKind]) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(_, known, keys)| {
        keys.iter().any(|(name, _)| *name == key) && known.iter().any(|k| kinds.contains(k))
    });
    let mut found: Vec<_> = rows.map(|(section, ..)| *section).collect();
    found.dedup();
    found
}

/// The tasks that know `section.key`; none where nothing is called so.
pub(super) fn tasks(section: &str, key: &str) -> Vec<TaskKind> {
    let rows = KEYS.iter().filter(|(name, _, keys)| *name == section && keys.iter().any(|(name, _)| *name == key));
    rows.flat_map(|(_, kinds, _)| kinds.iter().copied()).collect()
}

/// The keys of a section in a run of this task.
pub(super) fn of(section: &str, kind: TaskKind) -> Vec<&'static str> {
    let rows = KEYS.iter().filter(|(name, kinds, _)| *name == section && kinds.contains(&kind));
    rows.flat_map(|(_, _, keys)| keys.iter().map(|(key, _)| *key)).collect()
}

/// Refuses the keys of other tasks, and those that no task knows.
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

/// Leaves the keys of this task.
pub(super) fn retain(table: &mut Table, kind: TaskKind) {
    table.retain(|section, keys| {
        let Value::Table(keys) = keys else { return true };
        let any = KEYS.iter().any(|(name, kinds, _)| *name == section && kinds.contains(&kind));
        keys.retain(|key, _| tasks(section, key).contains(&kind));
        any
    });
}

/// A key that a run of this task does not have.
#[derive(Debug)]
pub(super) struct WrongKey {
    section: String,
    /// Empty if there is no such section.
    key: String,
    /// Those that have it.
    tasks: Vec<TaskKind>,
    kind: TaskKind,
    place: Option<String>,
}

impl WrongKey {
    /// Adds the file and the line.
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
            return write!(f, "there is no section [{section}]{guess}; task {kind} has {}", known.join(", "));
        }
        if tasks.is_empty() {
            let known = of(section, *kind);
            let guess = did_you_mean(key, known.iter().copied());
            return write!(
                f,
                "no option is called `{section}.{key}`{guess}; [{section}] of task {kind} has {}",
                known.join(", ")
            );
        }
        let known: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
        write!(
            f,
            "`{section}.{key}` belongs to {}, but this run's task is {kind}: remove it, or name the task by --task",
            known.join(", ")
        )
    }
}

impl std::error::Error for WrongKey {}
