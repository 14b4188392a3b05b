//! Prompts from JSON lines: `{"prompt": "…" | [{"role", "content"}, …], "answer": …, "id"?}`.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::chat::{ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::jsonl;

/// What a completion continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text given to the model as it is.
    Text(String),
    /// A conversation, rendered by the model's chat template.
    Messages(Vec<Message>),
}

impl Prompt {
    /// What was asked: the text, or the content of the last message.
    #[must_use]
    pub fn question(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Messages(messages) => messages.last().map_or("", |message| &message.content),
        }
    }

    /// The text given to the model: a conversation goes through `template` and ends with the assistant's turn opened.
    ///
    /// # Errors
    ///
    /// [`Error::Template`] when a conversation meets a model without a chat template, or the template fails.
    pub fn render(&self, template: Option<&ChatTemplate>) -> Result<String> {
        match (self, template) {
            (Self::Text(text), _) => Ok(text.clone()),
            (Self::Messages(messages), Some(template)) => template.render(messages, true),
            (Self::Messages(_), None) => Err(Error::Template {
                message: "the prompt is a list of messages, but the model has no chat template; \
                          use an instruction-tuned model, or write `prompt` as one string"
                    .into(),
            }),
        }
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(items) if items.is_empty() => Err(D::Error::custom("`prompt` has no messages")),
            list @ Value::Array(_) => {
                let messages = serde_json::from_value(list);
                messages.map(Self::Messages).map_err(|e| {
                    D::Error::custom(format!("`prompt` needs messages {{\"role\": string, \"content\": string}}: {e}"))
                })
            }
            other => Err(D::Error::custom(format!("`prompt` is {other}, but must be a string or a list of messages"))),
        }
    }
}

/// One prompt with what is needed to judge its completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRow {
    /// What a completion continues.
    pub prompt: Prompt,
    /// What the verifier compares with; its form is the verifier's affair.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// A name for reports, a string or a number.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub id: Value,
}

impl PromptRow {
    /// A row of one text, without answer or id.
    #[must_use]
    pub fn text(prompt: impl Into<String>) -> Self {
        Self { prompt: Prompt::Text(prompt.into()), answer: Value::Null, id: Value::Null }
    }
}

/// Reads a file of prompts. Keys other than `prompt`, `answer` and `id` are ignored.
///
/// # Errors
///
/// [`Error::Io`]; [`Error::Line`] with the number of the first bad line; [`Error::Argument`] when there is no row at all.
pub fn read_prompts(path: &Path) -> Result<Vec<PromptRow>> {
    parse_prompts(&std::fs::read(path).map_err(Error::io("read", path))?, path)
}

/// [`read_prompts`] from memory; `path` is for messages.
///
/// # Errors
///
/// See [`read_prompts`].
pub fn parse_prompts(bytes: &[u8], path: &Path) -> Result<Vec<PromptRow>> {
    let rows = jsonl::parse(bytes, path, |row: &PromptRow| match &row.id {
        Value::Null | Value::String(_) | Value::Number(_) => Ok(()),
        other => Err(format!("`id` is {other}, but must be a string or a number")),
    })?;
    if rows.is_empty() {
        return Err(Error::argument("prompts", format!("{} without a row", path.display()), "at least one prompt"));
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<PromptRow>> {
        parse_prompts(text.as_bytes(), Path::new("p.jsonl"))
    }

    #[test]
    fn marks_line_ends_and_blank_lines_are_tolerated() {
        let text = "\u{feff}{\"prompt\": \"a\"}\r\n\r\n  \n{\"prompt\": [{\"role\": \"user\", \"content\": \"b\"}], \"answer\": 3, \"id\": 7, \"x\": 1}";
        let rows = parse(text).unwrap();
        assert_eq!(rows[0], PromptRow::text("a"));
        assert_eq!(rows[1].prompt, Prompt::Messages(vec![Message::user("b")]));
        assert_eq!((rows[1].prompt.question(), &rows[1].answer), ("b", &Value::from(3)));
    }

    #[test]
    fn errors_name_file_and_line() {
        for (line, wanted) in [
            ("{\"prompt\": 3}", "must be a string or a list"),
            ("{\"prompt\": []}", "no messages"),
            ("{\"prompt\": [{\"role\": \"user\"}]}", "content"),
            ("{\"prompt\": [{\"role\": \"user\", \"content\": [1]}]}", "content"),
            ("{\"answer\": 3}", "`prompt`"),
            ("{\"prompt\": \"a\", \"id\": []}", "`id`"),
            ("{\"prompt\": \"a\"", "not valid JSON"),
            ("[1]", "prompt"),
        ] {
            let message = parse(&format!("{{\"prompt\": \"ok\"}}\n\n{line}\n")).unwrap_err().to_string();
            assert!(message.starts_with("p.jsonl:3: "), "{message}");
            assert!(message.contains(wanted), "{line}: {message}");
            assert!(!message.contains("at line"), "{message}");
        }
        let error = parse_prompts(b"{\"prompt\": \"\xFF\"}", Path::new("p.jsonl")).unwrap_err();
        assert!(error.to_string().contains("p.jsonl:1: not UTF-8"), "{error}");
        assert!(parse("\n\n").unwrap_err().to_string().contains("p.jsonl"));
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        let line = r#"{"prompt":[{"role":"user","content":"b"}],"answer":"x","id":"q1"}"#;
        assert_eq!(serde_json::to_string(&parse(line).unwrap()[0]).unwrap(), line);
    }

    #[test]
    fn conversations_need_a_template() {
        let row = &parse(r#"{"prompt":[{"role":"user","content":"b"}]}"#).unwrap()[0];
        assert!(row.prompt.render(None).unwrap_err().to_string().contains("no chat template"));
        let template =
            ChatTemplate::new("{{ messages[0].content }}{% if add_generation_prompt %}>{% endif %}").unwrap();
        assert_eq!(row.prompt.render(Some(&template)).unwrap(), "b>");
        assert_eq!(Prompt::Text("t".into()).render(Some(&template)).unwrap(), "t");
    }
}
