//! The user's settings for a model's chat template: `[model.template]` of a configuration, or `--template`.

use std::collections::BTreeSet;
use std::sync::Mutex;

use anyhow::{Context, Result};
use flowrl_lm::chat::{ChatTemplate, Date, TemplateOptions};
use flowrl_lm::prompts::{Prompt, PromptRow};
use flowrl_lm::task::Text;
use serde_json::Map;
use toml::{Table, Value};

use crate::config::{dates_as_text, parse_variable};
use crate::tell;

/// The chat template's variables, for commands without a configuration.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct TemplateArgs {
    /// Set a variable of the chat template, such as enable_thinking=false; date=YYYY-MM-DD sets the day it prints; may
    /// be repeated
    #[arg(long = "template", value_name = "KEY=VALUE")]
    variables: Vec<String>,
}

impl TemplateArgs {
    /// Returns the variables and the date.
    pub fn options(&self) -> Result<TemplateOptions> {
        let mut table = Table::new();
        for flag in &self.variables {
            let pair = flag.split_once('=').filter(|(name, _)| !name.trim().is_empty());
            let (name, value) = pair.with_context(|| format!("--template: `{flag}` is not of the form KEY=VALUE"))?;
            table.insert(name.trim().to_owned(), parse_variable(value.trim()));
        }
        TemplateOptions::from_json(variables(&table)).context("--template")
    }
}

/// Returns the options of `[model.template]`.
pub fn options(table: &Table) -> Result<TemplateOptions> {
    TemplateOptions::from_json(variables(table)).context("[model.template]")
}

/// Writes today's date into `[model.template]` if prompts depend on it, so that the run can be resumed and replayed.
pub fn fix_date(table: &mut Table, text: &Text) {
    if !table.contains_key("date") && text.template().is_some_and(ChatTemplate::uses_date) {
        table.insert("date".into(), Value::String(Date::today().to_string()));
    }
}

/// Reports on standard error, once, the defaults that the chat template assumes and the variables that it does not use,
/// if any of `rows` goes through it.
pub fn tell<'a>(text: &Text, rows: impl IntoIterator<Item = &'a PromptRow>) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let Some(template) = text.template() else { return };
    let mut lines = BTreeSet::new();
    for row in rows {
        let Prompt::Messages(messages) = &row.prompt else { continue };
        for name in template.unused(messages, &row.chat) {
            lines.insert(format!("warning: the chat template does not use `{name}`, so it changes no prompt"));
        }
        for name in template.unknown_tokens() {
            lines.insert(format!(
                "warning: the chat template uses `{name}`, which no file of the model defines; it prints nothing, as in \
                 transformers. Set it with model.template.{name} or --template {name}=TOKEN"
            ));
        }
        if template.uses_date() && template.options().date.is_none() {
            lines.insert(format!(
                "note: the chat template may print the date, which is {}; set another with model.template.date or \
                 --template date=YYYY-MM-DD",
                template.date()
            ));
        }
    }
    for line in lines {
        if TOLD.lock().is_ok_and(|mut told| told.insert(line.clone())) {
            tell!("{line}");
        }
    }
}

/// Converts TOML to JSON, with dates as strings.
fn variables(table: &Table) -> Map<String, serde_json::Value> {
    let mut table = table.clone();
    dates_as_text(&mut table);
    let json = |value| serde_json::to_value(value).expect("every value of TOML has a form in JSON");
    table.into_iter().map(|(name, value)| (name, json(value))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn flags_are_values_of_toml_or_strings() {
        let options =
            |flags: &[&str]| TemplateArgs { variables: flags.iter().map(|&flag| flag.to_owned()).collect() }.options();
        let found =
            options(&["enable_thinking=False", "n = 3", "effort=low", "list=[1, 2.5]", "date=2024-07-26"]).unwrap();
        assert_eq!(found.date.unwrap().to_string(), "2024-07-26");
        let wanted = json!({"enable_thinking": false, "n": 3, "effort": "low", "list": [1, 2.5]});
        assert_eq!(serde_json::Value::from(found.variables), wanted);
        for (flag, wanted) in [
            ("thinking", "--template: `thinking` is not of the form KEY=VALUE"),
            ("=3", "KEY=VALUE"),
            ("date=soon", "`date` is \"soon\""),
            ("messages=[]", "`messages`"),
        ] {
            let error = format!("{:#}", options(&[flag]).unwrap_err());
            assert!(error.contains(wanted), "{error}");
        }
    }
}
