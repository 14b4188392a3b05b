//! One turn of a conversation.

use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

/// Names under which data files store a model's reasoning; templates read the first or the second.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// One turn of a conversation: the whole object of the data file, which the chat template sees unchanged.
///
/// `role` is a string. `content` is a string or a list of `{"type": "text", "text": …}`, and is optional in a
/// message with `tool_calls`.
///
/// ```
/// use flowrl_lm::chat::Message;
/// let message: Message = serde_json::from_str(r#"{"role": "user", "content": "2+2?", "name": "Ann"}"#)?;
/// assert_eq!((message.role(), message.text()), ("user", "2+2?"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Map<String, Value>")]
pub struct Message {
    fields: Map<String, Value>,
    text: String,
}

impl Message {
    /// Creates a message of the user.
    pub fn user(content: impl Into<String>) -> Self {
        let text = content.into();
        let fields = [("role", "user"), ("content", &text)].map(|(key, value)| (key.to_owned(), value.into()));
        Self { fields: Map::from_iter(fields), text }
    }

    /// Returns the speaker of this message: `system`, `user`, `assistant`, `tool`, ….
    pub fn role(&self) -> &str {
        self.fields["role"].as_str().unwrap_or_default()
    }

    /// Returns the text of `content`. For a list, this is the concatenation of the texts of its parts; without
    /// `content`, it is empty.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whether `content` is a list of parts.
    pub(super) fn has_parts(&self) -> bool {
        self.fields.get("content").is_some_and(Value::is_array)
    }

    /// Returns whether this message calls a tool.
    pub(super) fn calls_tools(&self) -> bool {
        has_tool_calls(&self.fields)
    }

    /// Returns the object that `transformers` gives to the template: null values are left out, and reasoning
    /// under any of its names is present under the two that templates read.
    pub(super) fn for_template(&self) -> Map<String, Value> {
        let there = self.fields.iter().filter(|(_, value)| !value.is_null());
        let mut fields: Map<_, _> = there.map(|(key, value)| (key.clone(), value.clone())).collect();
        if let Some(reasoning) = REASONING.iter().find_map(|name| fields.get(*name)).cloned() {
            fields.entry("thinking").or_insert_with(|| reasoning.clone());
            fields.insert("reasoning_content".into(), reasoning);
        }
        fields
    }

    /// Returns this message with `mark` at the end of its text.
    pub(super) fn marked(&self, mark: &str) -> Self {
        let mut message = self.clone();
        let content = match message.fields.get_mut("content") {
            Some(Value::Array(parts)) => parts.last_mut().and_then(|part| part.get_mut("text")),
            content => content,
        };
        if let Some(Value::String(text)) = content {
            text.push_str(mark);
        }
        message
    }
}

impl TryFrom<Map<String, Value>> for Message {
    type Error = String;

    fn try_from(fields: Map<String, Value>) -> Result<Self, String> {
        match fields.get("role") {
            Some(Value::String(role)) if !role.is_empty() => {}
            Some(other) => return Err(format!("`role` is {other}, but must be a string such as \"user\"")),
            None => return Err("`role` is missing".into()),
        }
        let text = match fields.get("content") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Array(parts)) if !parts.is_empty() => {
                parts.iter().enumerate().map(part).collect::<Result<_, _>>()?
            }
            None | Some(Value::Null) if has_tool_calls(&fields) => String::new(),
            None => return Err("`content` is missing; only a message with `tool_calls` may lack it".into()),
            Some(other) => {
                return Err(format!(
                    "`content` is {other}, but must be a string or a list of {{\"type\": \"text\", \"text\": string}}; \
                     it may be null only in a message with `tool_calls`"
                ));
            }
        };
        Ok(Self { fields, text })
    }
}

/// Returns the text of part `i` of a `content`.
fn part((i, part): (usize, &Value)) -> Result<String, String> {
    match (part["type"].as_str(), part["text"].as_str()) {
        (Some("text"), Some(text)) => Ok(text.to_owned()),
        (Some(kind), _) if kind != "text" => {
            Err(format!("`content[{i}]` is of type `{kind}`, but the models here read text only; leave such rows out"))
        }
        _ => Err(format!("`content[{i}]` is {part}, but must be {{\"type\": \"text\", \"text\": string}}")),
    }
}

fn has_tool_calls(fields: &Map<String, Value>) -> bool {
    fields.get("tool_calls").and_then(Value::as_array).is_some_and(|calls| !calls.is_empty())
}

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn message(value: Value) -> Result<Message, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn every_key_is_kept_in_order() {
        let line = r#"{"name":"x","role":"tool","content":"no","tool_call_id":"7","extra":{"b":[1,null],"a":2.5}}"#;
        let message: Message = serde_json::from_str(line).unwrap();
        assert_eq!(serde_json::to_string(&message).unwrap(), line);
        assert_eq!((message.role(), message.text()), ("tool", "no"));
    }

    #[test]
    fn content_is_text_parts_of_text_or_missing_beside_tool_calls() {
        let call = json!([{"type": "function", "function": {"name": "rain", "arguments": {}}}]);
        for (value, wanted) in [
            (json!({"role": "user", "content": "a"}), "a"),
            (json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}), "ab"),
            (json!({"role": "assistant", "content": null, "tool_calls": call}), ""),
            (json!({"role": "assistant", "tool_calls": call}), ""),
        ] {
            assert_eq!(message(value).unwrap().text(), wanted);
        }
        for (value, wanted) in [
            (json!({"content": "a"}), "`role` is missing"),
            (json!({"role": 3, "content": "a"}), "`role` is 3"),
            (json!({"role": "user"}), "`content` is missing"),
            (json!({"role": "user", "content": null}), "`content` is null"),
            (json!({"role": "assistant", "content": null, "tool_calls": []}), "`content` is null"),
            (json!({"role": "user", "content": 3}), "`content` is 3"),
            (json!({"role": "user", "content": []}), "`content` is []"),
            (json!({"role": "user", "content": [{"type": "image_url"}]}), "`content[0]` is of type `image_url`"),
            (json!({"role": "user", "content": [{"type": "text"}]}), "`content[0]` is {\"type\":\"text\"}"),
            (json!({"role": "user", "content": [1]}), "`content[0]` is 1"),
        ] {
            let error = message(value.clone()).unwrap_err();
            assert!(error.contains(wanted), "{value}: {error}");
        }
    }

    #[test]
    fn the_template_sees_reasoning_under_the_names_it_reads_and_no_nulls() {
        for name in REASONING {
            let fields = message(json!({"role": "assistant", "content": "4", name: "2+2", "name": null}))
                .unwrap()
                .for_template();
            assert_eq!((&fields["reasoning_content"], &fields["thinking"]), (&json!("2+2"), &json!("2+2")), "{name}");
            assert!(!fields.contains_key("name"));
        }
    }
}
