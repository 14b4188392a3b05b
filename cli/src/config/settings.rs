//! `--set key=value` on a table of TOML.

use anyhow::{Result, bail};
use flowrl_core::objective::{Kind, Objective, Preset};
use toml::{Table, Value};

/// Applies `section.key=value`, or `key=value` where only one section has that key.
pub(super) fn set(table: &mut Table, setting: &str) -> Result<()> {
    let Some((path, text)) = setting.split_once('=') else {
        bail!("`{setting}` is not of the form key=value");
    };
    if path.trim() == "objective" {
        return set_objective(table, &parse_value(text.trim()));
    }
    let (section, key) = match path.trim().split_once('.') {
        Some((section, key)) => (section.to_owned(), key.to_owned()),
        None => (section_of(path.trim())?, path.trim().to_owned()),
    };
    let value = parse_value(text.trim());
    let section = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(section) = section else { bail!("`{path}` is not in a section") };
    section.insert(key, value);
    Ok(())
}

/// `objective=NAME` replaces the preset or the kind, and leaves the other options of the objective.
fn set_objective(table: &mut Table, name: &Value) -> Result<()> {
    let known = || Objective::named().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let Some(name) = name.as_str() else { bail!("the objective is a name: {}", known()) };
    let key = if name.parse::<Preset>().is_ok() {
        "preset"
    } else if name.parse::<Kind>().is_ok() {
        "kind"
    } else {
        bail!("there is no objective `{name}`; there are {}", known())
    };
    let section = table.entry("objective").or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(section) = section else { bail!("`objective` is not a section") };
    section.remove("preset");
    section.remove("kind");
    section.insert(key.to_owned(), Value::String(name.to_owned()));
    Ok(())
}

/// A TOML value, or else a string: quotes may be left out.
fn parse_value(text: &str) -> Value {
    let parsed: Result<Table, _> = format!("value = {text}").parse();
    parsed.ok().and_then(|mut table| table.remove("value")).unwrap_or_else(|| Value::String(text.to_owned()))
}

/// The one section that has this key.
pub(super) fn section_of(key: &str) -> Result<String> {
    let sections = [
        ("model", &["path", "recompute"][..]),
        ("task", &["kind", "numbers", "max_number", "max_target", "seed", "prompts", "held_out", "verifier"]),
        (
            "objective",
            &[
                "kind",
                "preset",
                "beta",
                "balance",
                "length",
                "reward",
                "reward_ddof",
                "reward_eps",
                "importance",
                "clip_low",
                "clip_high",
                "token_mask",
                "token_clip_low",
                "token_clip_high",
                "log_z",
                "shape",
                "huber_delta",
                "kl",
                "aggregate",
            ],
        ),
        (
            "train",
            &["steps", "prompts", "samples", "minibatches", "epochs", "micro_batch", "seed", "threads", "rollouts"],
        ),
        ("sampling", &["max_tokens", "temperature", "top_k", "top_p"]),
        ("optimizer", &["learning_rate", "warmup", "decay", "beta1", "beta2", "eps", "weight_decay", "clip_norm"]),
        ("log_z", &["learning_rate", "weight_decay", "detach_trunk", "layers", "layer_norm", "dropout", "zero_init"]),
        ("eval", &["every", "prompts", "samples"]),
        ("run", &["save_every", "keep"]),
    ];
    let found: Vec<&str> = sections.iter().filter(|(_, keys)| keys.contains(&key)).map(|(name, _)| *name).collect();
    match found[..] {
        [section] => Ok(section.to_owned()),
        [] => bail!("no option is called `{key}`; `flowrl-cli train --dry-run` prints them all"),
        _ => {
            let names: Vec<String> = found.iter().map(|section| format!("{section}.{key}")).collect();
            bail!("`{key}` may be {}: write the section too", names.join(" or "))
        }
    }
}
