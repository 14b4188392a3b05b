//! The shapes of rows that other programs and known data sets have.

use std::fmt;

use flowrl_lm::jsonl;
use serde_json::{Map, Value, json};

/// A shape other than `prompt` and `answer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    name: &'static str,
    prompt: &'static str,
    answer: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A key for the prompt, and one for the answer.
    Keys,
    /// The answer follows the last `####`.
    Hashes,
    /// A conversation whose answer has a key of its own.
    Answered,
    /// A conversation that ends with the answer.
    Messages,
    /// The same, with `from` and `value` in place of `role` and `content`.
    ShareGpt,
    /// A question in two parts.
    Alpaca,
}

const ANSWERS: [&str; 5] = ["answer", "solution", "ground_truth", "final_answer", "expected_answer"];

/// Recognises the shape of a row. Returns `None` for `prompt` and `answer`, and for an unknown one.
pub(super) fn of(row: &Map<String, Value>) -> Option<Shape> {
    let has = |key: &str| row.get(key).is_some_and(|value| !value.is_null());
    let is_list_with = |list: &str, key: &str| row.get(list).and_then(|list| list.get(0)?.get(key)).is_some();
    let answer = ANSWERS.into_iter().find(|key| has(key));
    let shape = |name, prompt, answer, kind| Some(Shape { name, prompt, answer, kind });
    if has("prompt") {
        if row.contains_key("answer") {
            return None;
        }
        let truth = row.get("reward_model").and_then(|model| model.get("ground_truth"));
        if truth.is_some_and(|truth| !truth.is_null()) {
            return shape("verl", "prompt", "reward_model.ground_truth", Kind::Keys);
        }
        return shape("TRL", "prompt", answer?, Kind::Keys);
    }
    for list in ["messages", "conversations", "conversation"] {
        if is_list_with(list, "role") {
            return match answer {
                Some(answer) => shape("TRL", list, answer, Kind::Answered),
                None => shape("OpenAI's messages", list, "", Kind::Messages),
            };
        }
        if is_list_with(list, "from") {
            return shape("ShareGPT", list, "", Kind::ShareGpt);
        }
    }
    if has("instruction") && has("output") {
        return shape("Alpaca", "instruction", "output", Kind::Alpaca);
    }
    let question = ["question", "problem", "query"].into_iter().find(|key| has(key))?;
    let answer = answer?;
    match row[answer].as_str() {
        Some(text) if question == "question" && text.contains("####") => shape("GSM8K", question, answer, Kind::Hashes),
        _ if question == "problem" => shape("MATH", question, answer, Kind::Keys),
        _ => shape("questions", question, answer, Kind::Keys),
    }
}

/// Describes the shape for a note.
impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, prompt, answer, kind } = self;
        match kind {
            Kind::Keys => write!(f, "rows of {name}: the prompt is `{prompt}`, the answer `{answer}`"),
            Kind::Hashes => {
                write!(f, "rows of {name}: the prompt is `{prompt}`, the answer what follows #### in `{answer}`")
            }
            Kind::Answered => write!(
                f,
                "rows of {name}: the prompt is `{prompt}` without a last message of the assistant, the answer `{answer}`"
            ),
            Kind::Messages | Kind::ShareGpt => write!(
                f,
                "rows of {name}: the last message of the assistant in `{prompt}` is the answer and is taken off the prompt"
            ),
            Kind::Alpaca => write!(
                f,
                "rows of {name}: the prompt is `{prompt}`, with `input` below it if there is one, the answer `{answer}`"
            ),
        }
    }
}

impl Shape {
    /// Returns the keys that hold the prompt.
    pub(super) fn prompt_keys(self) -> &'static [&'static str] {
        match (self.kind, self.prompt) {
            (Kind::Alpaca, _) => &["instruction", "input"],
            (_, "prompt") => &["prompt"],
            (_, "messages") => &["messages"],
            (_, "conversations") => &["conversations"],
            (_, "conversation") => &["conversation"],
            (_, "problem") => &["problem"],
            (_, "query") => &["query"],
            _ => &["question"],
        }
    }

    /// Explains why a row is not of this shape, which is that of the row at `first`.
    pub(super) fn refusal(self, row: &Map<String, Value>, first: &str) -> String {
        let there = jsonl::keys(row);
        let top = |key: &'static str| key.split('.').next().unwrap_or(key);
        let missing = [top(self.prompt), top(self.answer)]
            .into_iter()
            .find(|key| !key.is_empty() && row.get(*key).is_none_or(Value::is_null));
        let choose =
            "put rows of different shapes into separate files, or choose keys with --prompt-key and --answer-key";
        let name = self.name;
        match (of(row), missing) {
            (Some(other), _) => format!("{other}, but {first} has a row of {name}: {choose}"),
            (None, Some(key)) => {
                format!("`{key}` is missing; the row has {there}, and {first} has a row of {name}: {choose}")
            }
            (None, None) => format!("the row has {there}, but {first} has a row of {name}: {choose}"),
        }
    }

    /// Returns the prompt and the answer of a row.
    pub(super) fn take(self, row: &Map<String, Value>) -> Result<(Value, Option<Value>), String> {
        let prompt = row.get(self.prompt).cloned().unwrap_or_default();
        let answer = self.answer.split('.').try_fold(None, |at: Option<&Value>, key| {
            at.map_or_else(|| row.get(key), |value| value.get(key)).map(Some)
        });
        let answer = answer.flatten().cloned();
        match self.kind {
            Kind::Keys => Ok((prompt, answer)),
            Kind::Hashes => {
                let text = answer.as_ref().and_then(Value::as_str).unwrap_or_default();
                let last = text.rsplit("####").next().unwrap_or_default().trim();
                Ok((prompt, Some(last.into())))
            }
            Kind::Answered => Ok((split(list(prompt)).0, answer)),
            Kind::Messages => conversation(list(prompt), self.prompt),
            Kind::ShareGpt => {
                let turns: Result<Vec<Value>, String> = list(prompt)
                    .iter()
                    .enumerate()
                    .map(|(i, turn)| message(turn, &format!("{}[{i}]", self.prompt)))
                    .collect();
                conversation(turns?, self.prompt)
            }
            Kind::Alpaca => {
                let text = |key: &str| match row.get(key) {
                    None | Some(Value::Null) => Ok(""),
                    Some(Value::String(text)) => Ok(text.trim()),
                    Some(other) => Err(format!("`{key}` is {other}, but must be a string")),
                };
                let (instruction, input) = (text("instruction")?, text("input")?);
                let prompt = if input.is_empty() { instruction.into() } else { format!("{instruction}\n\n{input}") };
                Ok((prompt.into(), answer))
            }
        }
    }
}

fn list(value: Value) -> Vec<Value> {
    if let Value::Array(items) = value { items } else { Vec::new() }
}

/// Takes a last message of the assistant off a conversation.
fn split(mut messages: Vec<Value>) -> (Value, Option<Value>) {
    let is_answer = messages.last().is_some_and(|last| last["role"] == "assistant");
    let last = if is_answer { messages.pop() } else { None };
    (messages.into(), last)
}

fn conversation(messages: Vec<Value>, key: &str) -> Result<(Value, Option<Value>), String> {
    let (prompt, last) = split(messages);
    if last.is_some() && prompt == json!([]) {
        return Err(format!("`{key}` has only the answer, and no message before it"));
    }
    let text = |message: Value| match &message["content"] {
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect::<String>().into(),
        content => content.clone(),
    };
    Ok((prompt, last.map(text)))
}

/// Returns a turn of ShareGPT as a message.
fn message(turn: &Value, place: &str) -> Result<Value, String> {
    let role = match turn["from"].as_str() {
        Some("human" | "user") => "user",
        Some("gpt" | "assistant" | "chatgpt" | "bing" | "bard" | "model") => "assistant",
        Some("system") => "system",
        Some("tool" | "observation" | "function_response") => "tool",
        _ => {
            let from = &turn["from"];
            return Err(format!("`{place}.from` is {from}, but must be human, gpt, system or tool"));
        }
    };
    let text =
        turn["value"].as_str().ok_or_else(|| format!("`{place}.value` is {}, but must be a string", turn["value"]))?;
    Ok(json!({"role": role, "content": text}))
}
