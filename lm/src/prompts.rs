//! Prompts from JSON lines: `{"prompt": …, "answer": …}`, optionally with `id`, `log_z`, `tools`, `documents`
//! and `chat_template_kwargs`. The prompt is a text or a list of messages `{"role": …, "content": …}`.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::chat::{ChatInputs, ChatTemplate, Message};
use crate::error::{Error, Result};
use crate::jsonl;

/// The text or conversation that a completion continues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Text given to the model as it is.
    Text(String),
    /// A conversation, rendered by the model's chat template.
    Messages(Vec<Message>),
}

impl Prompt {
    /// Returns the question of this prompt: the text, or the last message of the user. For a conversation
    /// without a user it is the last message.
    pub fn question(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Messages(messages) => {
                let asked = messages.iter().rev().find(|message| message.role() == "user");
                asked.or(messages.last()).map_or("", Message::text)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self::Text(text)),
            Value::Array(items) if items.is_empty() => Err(D::Error::custom("`prompt` has no messages")),
            Value::Array(items) => {
                let message = |(i, item)| match item {
                    Value::Object(fields) => Message::try_from(fields).map_err(|why| format!("`prompt[{i}]`: {why}")),
                    other => Err(format!("`prompt[{i}]` is {other}, but must be a message {{\"role\", \"content\"}}")),
                };
                let messages: Result<_, String> = items.into_iter().enumerate().map(message).collect();
                messages.map(Self::Messages).map_err(D::Error::custom)
            }
            other => Err(D::Error::custom(format!("`prompt` is {other}, but must be a string or a list of messages"))),
        }
    }
}

/// One prompt with the data needed to judge its completions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptRow {
    /// The text or conversation that a completion continues.
    pub prompt: Prompt,
    /// The answer that the verifier compares with; each verifier defines its format.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// Name of the row in reports, a string or a number.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub id: Value,
    /// The log Z of this prompt, for an objective with a frozen log Z.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub log_z: Value,
    /// Inputs of the chat template other than the messages.
    #[serde(flatten)]
    pub chat: ChatInputs,
    /// The other fields of the row, which a verifier of one's own may use.
    #[serde(skip)]
    pub columns: Map<String, Value>,
    /// Where the row comes from, for error messages.
    #[serde(skip)]
    pub origin: Origin,
}

/// The place from which a row was read. It is not part of the row's content, so any two of them compare equal.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// Name of the file; empty if the row is from no file.
    pub file: Arc<str>,
    /// Line of the file, counted from 1, or the number of the row if the file has no lines; 0 if the row is from no file.
    pub line: usize,
    /// Whether `line` counts rows.
    pub counts_rows: bool,
    /// Keys of the line, if it has no answer.
    pub keys: String,
}

/// Writes `prompts.jsonl:3` or `prompts.parquet:row 3`, and nothing for a row from no file.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.counts_rows) {
            (0, _) => f.write_str(&self.file),
            (line, false) => write!(f, "{}:{line}", self.file),
            (line, true) => write!(f, "{}:row {line}", self.file),
        }
    }
}

impl PartialEq for Origin {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The keys of a line that hold the prompt and the answer. A dot leads into an object: `reward_model.ground_truth`.
#[derive(Clone, Debug)]
pub struct RowKeys {
    /// Key of the prompt.
    pub prompt: String,
    /// Key of the answer.
    pub answer: String,
}

impl Default for RowKeys {
    fn default() -> Self {
        Self { prompt: "prompt".into(), answer: "answer".into() }
    }
}

impl PromptRow {
    /// Creates a row from a prompt, without answer or id.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            answer: Value::Null,
            id: Value::Null,
            log_z: Value::Null,
            chat: ChatInputs::default(),
            columns: Map::new(),
            origin: Origin::default(),
        }
    }

    /// Creates a row from a text, without answer or id.
    pub fn text(prompt: impl Into<String>) -> Self {
        Self::new(Prompt::Text(prompt.into()))
    }

    /// Returns the text of this row that is given to the model. A conversation is rendered with `template`, see
    /// [`ChatTemplate::render`].
    ///
    /// # Errors
    /// Returns [`Error::Template`] if there is no template for a conversation, or the template cannot render it.
    pub fn render(&self, template: Option<&ChatTemplate>) -> Result<String> {
        match (&self.prompt, template) {
            (Prompt::Text(text), _) => Ok(text.clone()),
            (Prompt::Messages(messages), Some(template)) => template.render(messages, &self.chat),
            (Prompt::Messages(_), None) => Err(Error::Template(
                "the prompt is a list of messages, but the model has no chat template; use an instruction-tuned model, \
                 or write `prompt` as one string"
                    .into(),
            )),
        }
    }

    /// Checks the fields of this row whose type allows more than their meaning: `id` and the inputs of the chat
    /// template.
    ///
    /// # Errors
    /// Returns a message with the mistake and its remedy.
    pub fn check(&self) -> Result<(), String> {
        check_chat(&self.prompt, &self.chat)?;
        match &self.id {
            Value::Null | Value::String(_) | Value::Number(_) => Ok(()),
            other => Err(format!("`id` is {other}, but must be a string or a number")),
        }
    }
}

/// Returns an error if inputs of a chat template are wrong, or if no template would see them.
pub(crate) fn check_chat(prompt: &Prompt, chat: &ChatInputs) -> Result<(), String> {
    chat.check()?;
    match (prompt, chat.names().next()) {
        (Prompt::Text(_), Some(name)) => Err(format!(
            "`{name}` is for the chat template, but `prompt` is one string: write it as a list of messages, or leave `{name}` out"
        )),
        _ => Ok(()),
    }
}

/// The keys of a row with a meaning of their own.
const OWN_KEYS: [&str; 5] = ["id", "log_z", "tools", "documents", "chat_template_kwargs"];

/// Reads a file of prompts. Keys other than those of `keys`, `id`, `log_z` and the fields of [`ChatInputs`] become
/// [`PromptRow::columns`].
///
/// # Errors
/// Returns [`Error::Io`]; [`Error::Line`] with the number of the first bad line; or [`Error::Argument`] if
/// there is no row.
pub fn read_prompts(path: &Path, keys: &RowKeys) -> Result<Vec<PromptRow>> {
    parse_prompts(&std::fs::read(path).map_err(Error::io("read", path))?, path, keys)
}

/// Parses prompts from memory, as [`read_prompts`] does from a file; `path` is for error messages.
pub fn parse_prompts(bytes: &[u8], path: &Path, keys: &RowKeys) -> Result<Vec<PromptRow>> {
    let file: Arc<str> = path.to_string_lossy().into();
    let origin = |line| Origin { file: Arc::clone(&file), line, ..Origin::default() };
    let rows = jsonl::parse(bytes, path, |line, object| row_of(origin(line), object, keys))?;
    if rows.is_empty() {
        return Err(Error::argument("prompts", format!("{} without a row", path.display()), "at least one prompt"));
    }
    Ok(rows)
}

/// Makes a row of prompts from an object.
///
/// # Errors
/// Returns a message with the key that is missing or wrong.
pub fn row_of(origin: Origin, mut object: Map<String, Value>, keys: &RowKeys) -> Result<PromptRow, String> {
    let there = jsonl::keys(&object);
    let columns = columns(&object, &[&keys.prompt]);
    let prompt = take(&mut object, &keys.prompt)
        .ok_or_else(|| format!("`{}` is missing; the row has {there}: name its key with --prompt-key", keys.prompt))?;
    let answer = take(&mut object, &keys.answer);
    let keys = if answer.is_none() { there } else { String::new() };
    finish(Origin { keys, ..origin }, object, prompt, answer, columns)
}

/// Makes a row from a prompt and an answer that were found in an object, in which the prompt was under `prompt_keys`.
///
/// # Errors
/// Returns a message with the key that is missing or wrong.
pub fn row_with(
    origin: Origin,
    object: Map<String, Value>,
    prompt: Value,
    answer: Option<Value>,
    prompt_keys: &[&str],
) -> Result<PromptRow, String> {
    let columns = columns(&object, prompt_keys);
    let keys = if answer.is_none() { jsonl::keys(&object) } else { String::new() };
    finish(Origin { keys, ..origin }, object, prompt, answer, columns)
}

/// Returns the columns of a row that a verifier of one's own may use.
fn columns(object: &Map<String, Value>, prompt_keys: &[&str]) -> Map<String, Value> {
    let mut columns = object.clone();
    columns.retain(|key, _| !prompt_keys.contains(&key.as_str()) && !OWN_KEYS.contains(&key.as_str()));
    columns
}

fn finish(
    origin: Origin,
    mut object: Map<String, Value>,
    prompt: Value,
    answer: Option<Value>,
    columns: Map<String, Value>,
) -> Result<PromptRow, String> {
    object.insert("prompt".into(), prompt);
    object.insert("answer".into(), answer.unwrap_or_default());
    let row = PromptRow { origin, columns, ..jsonl::row(object)? };
    row.check().map(|()| row)
}

/// Removes and returns the value of a key, or of keys with dots between them.
fn take(object: &mut Map<String, Value>, key: &str) -> Option<Value> {
    if let Some(value) = object.remove(key) {
        return Some(value);
    }
    let (first, rest) = key.split_once('.')?;
    take(object.get_mut(first)?.as_object_mut()?, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<PromptRow>> {
        parse_with(text, &RowKeys::default())
    }

    fn parse_with(text: &str, keys: &RowKeys) -> Result<Vec<PromptRow>> {
        parse_prompts(text.as_bytes(), Path::new("p.jsonl"), keys)
    }

    #[test]
    fn other_keys_lead_to_prompt_and_answer() {
        let keys = RowKeys { prompt: "question".into(), answer: "reward_model.ground_truth".into() };
        let line = r#"{"question": "q", "reward_model": {"ground_truth": "12"}, "prompt": "not this"}"#;
        let row = &parse_with(line, &keys).unwrap()[0];
        assert_eq!((row.prompt.question(), &row.answer), ("q", &Value::from("12")));
        let message = parse(r#"{"question": "q", "solution": 3}"#).unwrap_err().to_string();
        assert!(message.starts_with("p.jsonl:1: `prompt` is missing; the row has `question`, `solution`"), "{message}");
        let row = &parse(r#"{"prompt": "q", "solution": 3}"#).unwrap()[0];
        assert_eq!((row.origin.line, row.origin.keys.as_str()), (1, "`prompt`, `solution`"));
    }

    #[test]
    fn other_formats_are_named() {
        for (bytes, wanted) in [
            (&b"PAR1\x15\x04"[..], "Parquet"),
            (b"\x1f\x8b\x08\0", "gzip"),
            (b"\x28\xb5\x2f\xfd", "zstd"),
            (b"\xff\xfe{\0", "UTF-16"),
            (b"[{\"prompt\": \"q\"}]", "an array"),
            (b"prompt,answer\nq,3\n", "CSV"),
        ] {
            let message = parse_prompts(bytes, Path::new("p.x"), &RowKeys::default()).unwrap_err().to_string();
            assert!(message.starts_with("p.x:1: ") && message.contains(wanted), "{message}");
        }
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
            ("{\"prompt\": [{\"role\": \"user\"}]}", "`prompt[0]`: `content` is missing"),
            ("{\"prompt\": [{\"role\": \"user\", \"content\": [1]}]}", "`prompt[0]`: `content[0]` is 1"),
            ("{\"prompt\": [3]}", "`prompt[0]` is 3"),
            ("{\"prompt\": \"a\", \"tools\": [{}]}", "`tools` is for the chat template"),
            ("{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"tools\": [1]}", "`tools` is [1]"),
            ("{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"documents\": \"d\"}", "`documents` is \"d\""),
            (
                "{\"prompt\": [{\"role\": \"user\", \"content\": \"a\"}], \"chat_template_kwargs\": {\"tools\": 1}}",
                "`chat_template_kwargs`: the variable `tools`",
            ),
            ("{\"answer\": 3}", "`prompt`"),
            ("{\"prompt\": \"a\", \"id\": []}", "`id`"),
            ("{\"prompt\": \"a\"", "not valid JSON"),
            ("[1]", "an object"),
            ("{\"prompt\": \"a\", \"prompt\": \"b\"}", "duplicate field `prompt`"),
        ] {
            let message = parse(&format!("{{\"prompt\": \"ok\"}}\n\n{line}\n")).unwrap_err().to_string();
            assert!(message.starts_with("p.jsonl:3: "), "{message}");
            assert!(message.contains(wanted), "{line}: {message}");
            assert!(!message.contains("at line"), "{message}");
        }
        let error = parse_prompts(b"{\"prompt\": \"\xFF\"}", Path::new("p.jsonl"), &RowKeys::default()).unwrap_err();
        assert!(error.to_string().contains("p.jsonl:1: not UTF-8"), "{error}");
        assert!(parse("\n\n").unwrap_err().to_string().contains("p.jsonl"));
    }

    #[test]
    fn a_row_comes_back_as_it_was_written() {
        for line in [
            r#"{"prompt":[{"role":"user","content":"b"}],"answer":"x","id":"q1"}"#,
            r#"{"prompt":[{"role":"assistant","content":null,"tool_calls":[{"z":1,"a":[2.5,null]}]},{"content":"no","role":"tool"}],"tools":[{"type":"function"}],"chat_template_kwargs":{"enable_thinking":false}}"#,
        ] {
            assert_eq!(serde_json::to_string(&parse(line).unwrap()[0]).unwrap(), line);
        }
    }

    #[test]
    fn the_question_is_what_the_user_said_last() {
        for (messages, wanted) in [
            (
                r#"[{"role":"user","content":"a"},{"role":"assistant","content":"b"},{"role":"user","content":"c"}]"#,
                "c",
            ),
            (r#"[{"role":"user","content":"a"},{"role":"assistant","content":"The sum is "}]"#, "a"),
            (r#"[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]}]"#, "ab"),
            (r#"[{"role":"system","content":"s"}]"#, "s"),
        ] {
            let prompt: Prompt = serde_json::from_str(messages).unwrap();
            assert_eq!(prompt.question(), wanted, "{messages}");
        }
    }

    #[test]
    fn conversations_need_a_template() {
        let row = &parse(r#"{"prompt":[{"role":"user","content":"b"}]}"#).unwrap()[0];
        assert!(row.render(None).unwrap_err().to_string().contains("no chat template"));
        let template = ChatTemplate::new("{{ messages[0].content }}{% if add_generation_prompt %}>{% endif %}");
        assert_eq!(row.render(Some(&template)).unwrap(), "b>");
        assert_eq!(PromptRow::text("t").render(Some(&template)).unwrap(), "t");
    }
}
