//! Applies `--set key=value` to a TOML table.

use anyhow::{Result, bail};
use flowrl_core::objective::Preset;
use toml::{Table, Value};

use super::keys::did_you_mean;
use super::{TaskKind, keys};
use crate::warn;

/// Applies `section.key=value`, or `key=value` if only one section has that key.
pub(super) fn set(table: &mut Table, setting: &str, kind: TaskKind) -> Result<()> {
    let Some((path, text)) = setting.split_once('=') else {
        bail!("`{setting}` is not of the form key=value");
    };
    if path.trim() == "objective" {
        return set_objective(table, &parse_value(text.trim()));
    }
    if let Some(name) = path.trim().strip_prefix("model.template.") {
        // This table takes any name, because the chat template defines the names.
        let variables = section(section(table, "model")?, "template")?;
        variables.insert(name.to_owned(), parse_variable(text.trim()));
        return Ok(());
    }
    let (name, key) = match path.trim().split_once('.') {
        Some((section, key)) => (section.trim().to_owned(), key.trim().to_owned()),
        None => (section_of(path.trim(), kind)?, path.trim().to_owned()),
    };
    section(table, &name)?.insert(key, parse_value(text.trim()));
    Ok(())
}

/// Applies `objective=NAME`, which replaces the preset. If the file's preset was another, this function drops its
/// options: a resolved file lists all of them, and they would mix with the new objective.
fn set_objective(table: &mut Table, name: &Value) -> Result<()> {
    let Some(name) = name.as_str() else { bail!("the objective must be a name: one of {}", Preset::NAMES.join(", ")) };
    if name.parse::<Preset>().is_err() {
        let guess = did_you_mean(name, Preset::NAMES.iter().copied());
        bail!("unknown objective `{name}`{guess}: expected one of {}", Preset::NAMES.join(", "))
    }
    let section = section(table, "objective")?;
    let before = ["preset", "kind"].iter().find_map(|key| section.get(*key)?.as_str());
    if before != Some(name) {
        let options: Vec<_> =
            section.keys().filter(|key| !["preset", "kind"].contains(&key.as_str())).cloned().collect();
        if !options.is_empty() {
            let options = options.join(", ");
            warn!("objective {name} replaces that of the configuration file, with its options: {options}");
        }
        section.clear();
    }
    section.remove("kind");
    section.insert("preset".to_owned(), Value::String(name.to_owned()));
    Ok(())
}

/// Returns a section of a table, which is added if it is not there.
fn section<'a>(table: &'a mut Table, name: &str) -> Result<&'a mut Table> {
    match table.entry(name).or_insert_with(|| Value::Table(Table::new())) {
        Value::Table(section) => Ok(section),
        _ => bail!("`{name}` is not a section"),
    }
}

/// Parses the value of a template variable like [`parse_value`], but reads `True` and `False` as Python does.
pub(crate) fn parse_variable(text: &str) -> Value {
    match text {
        "True" => Value::Boolean(true),
        "False" => Value::Boolean(false),
        _ => parse_value(text),
    }
}

/// Parses a TOML value. Text that is not TOML becomes a string, so that quotes may be left out.
fn parse_value(text: &str) -> Value {
    let parsed: Result<Table, _> = format!("value = {text}").parse();
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// Returns the one section that has this key in a run of this task.
pub(super) fn section_of(key: &str, kind: TaskKind) -> Result<String> {
    match keys::sections(key, &[kind])[..] {
        [section] => Ok(section.to_owned()),
        [] => match keys::sections(key, TaskKind::ALL)[..] {
            [] => {
                let known = keys::of_task(kind).into_iter().flat_map(|(_, keys)| keys).map(|(key, _)| key);
                let guess = did_you_mean(key, known);
                bail!("unknown option `{key}`{guess}: `flowrl-cli train --task {kind} --dry-run` prints all of them")
            }
            // `keys::check` refuses this key and names the tasks that accept it.
            [section, ..] => Ok(section.to_owned()),
        },
        ref found => {
            let names: Vec<String> = found.iter().map(|section| format!("{section}.{key}")).collect();
            bail!("`{key}` is ambiguous, it may be {}: give the section too", names.join(" or "))
        }
    }
}

/// Returns the task that the settings name, or else the file's table. The last setting wins.
pub(super) fn task(table: &Table, settings: &[&str]) -> Result<TaskKind> {
    let named = |setting: &&str| {
        let (path, name) = setting.split_once('=')?;
        (path.trim() == "task.kind").then(|| parse_value(name.trim()))
    };
    let value = settings.iter().rev().find_map(named);
    match value.or_else(|| table.get("task")?.get("kind").cloned()) {
        None => Ok(TaskKind::default()),
        Some(value) => value.clone().try_into().map_err(|_| {
            let known: Vec<_> = TaskKind::ALL.iter().map(|kind| kind.name()).collect();
            anyhow::anyhow!("unknown task {value}: expected one of {}", known.join(", "))
        }),
    }
}
