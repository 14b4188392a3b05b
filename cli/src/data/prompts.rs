//! Rows of data files as prompts.

use std::path::Path;

use anyhow::{Result, anyhow, bail, ensure};
use flowrl_lm::chat::Message;
use flowrl_lm::prompts::{Prompt, PromptRow, RowKeys, row_of, row_with};
use flowrl_lm::task::LongPrompts;
use serde_json::Map;

use super::{Row, shape};
use crate::{input, note};

/// The keys of prompts and answers that a user has chosen. If there is none, the shape of the rows tells them.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// Key of the prompt.
    pub prompt: Option<String>,
    /// Key of the answer; a dot descends into an object.
    pub answer: Option<String>,
}

impl Keys {
    /// Returns these keys, with `prompt` and `answer` for those that were not chosen.
    pub fn or_default(&self) -> RowKeys {
        let default = RowKeys::default();
        RowKeys {
            prompt: self.prompt.clone().unwrap_or(default.prompt),
            answer: self.answer.clone().unwrap_or(default.answer),
        }
    }

    fn is_chosen(&self) -> bool {
        self.prompt.is_some() || self.answer.is_some()
    }
}

/// Reads the prompts of a file or folder. Says which shape the rows have, if it is not `prompt` and `answer`.
pub fn read_prompts(path: &Path, keys: &Keys) -> Result<Vec<PromptRow>> {
    let rows = super::rows(path)?;
    let name = input::name(path);
    ensure!(!rows.is_empty(), "{name} is without a row, but must have at least one prompt");
    of_rows(rows, keys, &name)
}

pub(super) fn of_rows(rows: Vec<Row>, keys: &Keys, name: &str) -> Result<Vec<PromptRow>> {
    let first = rows.first().map_or_else(String::new, |row| row.origin.to_string());
    let shape = rows.first().and_then(|row| shape::of(&row.fields)).filter(|_| !keys.is_chosen());
    if let Some(shape) = shape {
        note!("{name}: {shape}; choose others with --prompt-key and --answer-key");
    }
    let chosen = keys.or_default();
    let read = |Row { origin, fields }: Row| {
        let place = origin.to_string();
        let row = match (shape, shape::of(&fields)) {
            (Some(shape), other) if other == Some(shape) => shape
                .take(&fields)
                .and_then(|(prompt, answer)| row_with(origin, fields, prompt, answer, shape.prompt_keys())),
            (Some(shape), _) => Err(shape.refusal(&fields, &first)),
            (None, Some(other)) if !keys.is_chosen() && place != first => Err(format!(
                "{other}, but {first} has a row of another shape: put rows of different shapes into separate files, or \
                 choose keys with --prompt-key and --answer-key"
            )),
            (None, _) => row_of(origin, fields, &chosen),
        };
        row.map_err(|why| anyhow!("{place}: {why}"))
    };
    rows.into_iter().map(read).collect()
}

/// Reads the name of a treatment of long prompts.
pub fn long_prompts(name: &str) -> Result<LongPrompts, String> {
    match name {
        "error" => Ok(LongPrompts::Error),
        "drop" => Ok(LongPrompts::Drop),
        "truncate" => Ok(LongPrompts::Truncate),
        _ => Err("expected error, drop or truncate".into()),
    }
}

/// Puts a system message before every conversation.
pub fn add_system(rows: &mut [PromptRow], text: &str) -> Result<()> {
    let fields =
        Map::from_iter([("role", "system"), ("content", text)].map(|(key, value)| (key.to_owned(), value.into())));
    let message = Message::try_from(fields).map_err(anyhow::Error::msg)?;
    for row in rows {
        let place = &row.origin;
        match &mut row.prompt {
            Prompt::Text(_) => bail!(
                "{place}: --system is for conversations, but this prompt is plain text: write it as messages, \
                 [{{\"role\": \"user\", \"content\": …}}], or put the text into the prompt"
            ),
            Prompt::Messages(messages)
                if messages.iter().any(|message| matches!(message.role(), "system" | "developer")) =>
            {
                bail!("{place}: the row has a system message already; remove it, or leave out --system")
            }
            Prompt::Messages(messages) => messages.insert(0, message.clone()),
        }
    }
    Ok(())
}
