//! The table of keys: those that a task accepts, and errors about the others.

use anyhow::{Result, bail};
use flowrl_core::objective::OPTIONS;
use toml::{Table, Value};

use super::TaskKind;
use super::sections::{ALL, EVAL, LAB, LOG_Z, MODEL, OPTIMIZER, POLICY, RUN, Row, SAMPLING, TASK, TEXT, TRAIN};

/// A key and its meaning.
pub(crate) type Key = (&'static str, &'static str);

/// The keys of each section. `docs/configuration.md` lists all of them; a dry run lists those that are absent.
const SECTIONS: [(&str, &[Row]); 10] = [
    ("model", MODEL),
    ("policy", POLICY),
    ("task", TASK),
    ("objective", OBJECTIVE),
    ("train", TRAIN),
    ("sampling", SAMPLING),
    ("optimizer", OPTIMIZER),
    ("log_z", LOG_Z),
    ("eval", EVAL),
    ("run", RUN),
];

/// The keys of an objective in addition to its options.
const OBJECTIVE: &[Row] = &[
    (ALL, "preset", "the objective by name, see presets.md"),
    (ALL, "kind", "alias of preset; `flowrl` may be combined with a preset of FlowRL"),
];

/// Returns every key with its section and the tasks that accept it.
fn rows() -> impl Iterator<Item = (&'static str, &'static [TaskKind], Key)> {
    SECTIONS.into_iter().flat_map(|(section, rows)| {
        let options = if section == "objective" { OPTIONS } else { &[] };
        let options = options.iter().map(|(key, meaning)| (ALL, *key, *meaning));
        rows.iter().copied().chain(options).map(move |(tasks, key, meaning)| (section, tasks, (key, meaning)))
    })
}

/// Returns every section of a run of this task, with its keys.
pub(super) fn of_task(kind: TaskKind) -> Vec<(&'static str, Vec<Key>)> {
    let rows: Vec<_> = rows().filter(|(_, tasks, _)| tasks.contains(&kind)).collect();
    let sections = rows.chunk_by(|a, b| a.0 == b.0);
    sections.map(|rows| (rows[0].0, rows.iter().map(|(_, _, key)| *key).collect())).collect()
}

/// Formats all keys as Markdown tables, one per section, with the tasks that accept them, as in
/// `docs/configuration.md`.
pub fn markdown() -> String {
    let mut text = String::new();
    let mut last = "";
    for (section, tasks, (key, meaning)) in rows() {
        if section != last {
            text += &format!("\n## [{section}]\n\n| key | tasks | meaning |\n|---|---|---|\n");
            last = section;
        }
        let tasks = match tasks {
            all if all == ALL => "all".to_owned(),
            text if text == TEXT => "language models".to_owned(),
            lab if lab == LAB => "lab".to_owned(),
            some => some.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        text += &format!("| `{key}` | {tasks} | {} |\n", meaning.replace('|', "\\|"));
    }
    text
}

/// Returns the sections that have `key` in a run of one of `kinds`, in order and without duplicates.
pub(super) fn sections(key: &str, kinds: &[TaskKind]) -> Vec<&'static str> {
    let has = |tasks: &[TaskKind]| tasks.iter().any(|kind| kinds.contains(kind));
    let rows = rows().filter(|(_, tasks, (name, _))| *name == key && has(tasks));
    let mut found: Vec<_> = rows.map(|(section, ..)| section).collect();
    found.dedup();
    found
}

/// Returns the tasks that accept `section.key`; none if there is no such key.
pub(super) fn tasks(section: &str, key: &str) -> Vec<TaskKind> {
    rows().filter(|row| row.0 == section && row.2.0 == key).flat_map(|(_, tasks, _)| tasks).copied().collect()
}

/// Refuses the keys of other tasks, and unknown keys. `place` names the file and the line of a section and a key, which
/// is empty if the section itself is unknown.
pub(super) fn check(table: &Table, kind: TaskKind, place: impl Fn(&str, &str) -> String) -> Result<()> {
    for (section, keys) in table {
        if !SECTIONS.iter().any(|(name, _)| name == section) {
            let known: Vec<_> = of_task(kind).into_iter().map(|(name, _)| name).collect();
            let guess = did_you_mean(section, known.iter().copied());
            let place = place(section, "");
            bail!("{place}unknown section [{section}]{guess}: task {kind} has {}", known.join(", "));
        }
        for key in keys.as_table().into_iter().flat_map(Table::keys) {
            let tasks = tasks(section, key);
            if !tasks.contains(&kind) {
                bail!("{}{}", place(section, key), wrong_key(section, key, &tasks, kind));
            }
        }
    }
    Ok(())
}

/// Returns the error of a key that a run of this task does not have. `tasks` accept the key; there are none if it is
/// unknown.
fn wrong_key(section: &str, key: &str, tasks: &[TaskKind], kind: TaskKind) -> String {
    if tasks.is_empty() {
        let keys = of_task(kind).into_iter().find(|(name, _)| *name == section).unwrap_or_default().1;
        let known: Vec<_> = keys.into_iter().map(|(key, _)| key).collect();
        let guess = did_you_mean(key, known.iter().copied());
        let known = known.join(", ");
        return format!("unknown option `{section}.{key}`{guess}: [{section}] of task {kind} has {known}");
    }
    let known: Vec<&str> = tasks.iter().map(|task| task.name()).collect();
    let known = known.join(", ");
    format!(
        "`{section}.{key}` belongs to {known}, but this run's task is {kind}: remove it, or choose the task with --task"
    )
}

/// Returns `FILE:LINE: ` for a key of a file, or for its section if the key is empty.
pub(super) fn place(file: &str, text: &str, section: &str, key: &str) -> String {
    let document = toml::de::DeTable::parse(text).ok();
    let section = document.as_ref().and_then(|document| document.get_ref().get_key_value(section));
    let start = section.and_then(|(name, section)| {
        let keys = section.get_ref().as_table().into_iter().flat_map(|keys| keys.keys());
        let own = keys.into_iter().find(|own| own.get_ref() == key);
        own.map(|own| own.span().start).or_else(|| key.is_empty().then(|| name.span().start))
    });
    let line = start.map(|start| format!(":{}", 1 + text[..start].matches('\n').count()));
    format!("{file}{}: ", line.unwrap_or_default())
}

/// Removes the sections and keys of other tasks.
pub(super) fn retain(table: &mut Table, kind: TaskKind) {
    table.retain(|section, keys| {
        let Value::Table(keys) = keys else { return true };
        let any = rows().any(|(name, tasks, _)| name == section && tasks.contains(&kind));
        keys.retain(|key, _| tasks(section, key).contains(&kind));
        any
    });
}

/// Returns ` (did you mean `x`?)` for the known name most similar to `word`, or an empty string if none is similar
/// enough.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    /// The similarity that clap requires of a flag.
    const ALIKE: f64 = 0.7;
    let scored = known.into_iter().map(|name| (strsim::jaro(word, name), name));
    let best = scored.filter(|(score, _)| *score > ALIKE).max_by(|a, b| a.0.total_cmp(&b.0));
    best.map_or_else(String::new, |(_, name)| format!(" (did you mean `{name}`?)"))
}
