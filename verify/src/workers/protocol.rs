//! The messages between this program and a worker: one JSON object a line.
//!
//! A worker begins with `{"hello": {"protocol": 1, "batch": false}}`. It then answers each item, `{"id", "prompt",
//! "completion", "answer", "tokens", "finish", "extra"}`, by `{"id", "reward", "verdict", "parts", "answer", "log"}`, in
//! any order. If its hello says `"batch": true`, items come as `{"items": […]}`, at most `max_batch` of them.

use flowrl_core::task::Judgement;
use flowrl_lm::verify::Attempt;
use serde_json::{Map, Value, json};

/// Largest number of bytes of a line, in both directions.
pub(crate) const MAX_LINE: usize = 1 << 20;

/// The first line of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Most items in a request; 1 if items are sent one by one.
    pub max_batch: usize,
}

impl Hello {
    /// Reads the first line of a worker.
    ///
    /// # Errors
    /// Returns the rest of a sentence that begins with the name of the verifier.
    pub(crate) fn parse(line: &str) -> Result<Self, String> {
        let wanted = "`{\"hello\": {\"protocol\": 1}}`";
        let shown = || flowrl_lm::short(line.trim());
        let value: Value =
            serde_json::from_str(line).map_err(|_| format!("began with {:?} instead of {wanted}", shown()))?;
        if let Some(message) = value.get("error").and_then(Value::as_str) {
            return Err(format!("cannot start: {message}"));
        }
        let hello = value.get("hello").ok_or_else(|| format!("began with {} instead of {wanted}", shown()))?;
        match hello.get("protocol").and_then(Value::as_u64) {
            Some(1) => {}
            _ => return Err(format!("speaks protocol {}, but this program speaks 1", hello["protocol"])),
        }
        let max_batch = match (hello.get("batch").and_then(Value::as_bool), hello.get("max_batch")) {
            (Some(true), None) => 64,
            (Some(true), Some(most)) => {
                let most = most.as_u64().filter(|most| *most > 0);
                most.ok_or_else(|| format!("said `max_batch` {}, but it must be at least 1", hello["max_batch"]))?
                    as usize
            }
            _ => 1,
        };
        Ok(Self { max_batch })
    }
}

/// Returns a completion as the object that verifiers receive.
pub(crate) fn item(id: usize, attempt: &Attempt<'_>) -> Value {
    json!({
        "id": id,
        "prompt": attempt.row.prompt,
        "completion": attempt.completion,
        "answer": attempt.row.answer,
        "tokens": attempt.tokens,
        "finish": if attempt.ended { "stop" } else { "length" },
        "extra": attempt.row.columns,
    })
}

/// The answer of a worker to one item.
#[derive(Debug)]
pub(crate) struct Answer {
    pub id: usize,
    pub judgement: Judgement,
}

impl Answer {
    /// Reads one answer.
    ///
    /// # Errors
    /// Returns the mistake in the answer, and its id if it has one.
    pub(crate) fn parse(line: &str) -> Result<Self, (Option<usize>, String)> {
        let value: Value = serde_json::from_str(line)
            .map_err(|_| (None, format!("answered {:?}, which is not JSON", flowrl_lm::short(line.trim()))))?;
        Self::of(&value)
    }

    /// Reads one answer from its object.
    ///
    /// # Errors
    /// See [`Answer::parse`].
    pub(crate) fn of(value: &Value) -> Result<Self, (Option<usize>, String)> {
        let Some(fields) = value.as_object() else {
            return Err((None, format!("answered {}, which is not an object", flowrl_lm::short(&value.to_string()))));
        };
        let Some(id) = fields.get("id").and_then(Value::as_u64) else {
            return Err((None, format!("answered without a usable `id`: {}", flowrl_lm::short(&value.to_string()))));
        };
        let id = id as usize;
        let judgement = judgement(fields).map_err(|message| (Some(id), message))?;
        Ok(Self { id, judgement })
    }
}

fn judgement(fields: &Map<String, Value>) -> Result<Judgement, String> {
    let reward = match fields.get("reward") {
        None => return Err("answered without `reward`: give a number, or null to leave the completion out".into()),
        Some(Value::Null) => None,
        Some(reward) => Some(finite("reward", reward)?),
    };
    let verdict = match fields.get("verdict") {
        None | Some(Value::Null) => match reward {
            None => "left-out".to_owned(),
            Some(reward) if reward > 0.0 => "correct".to_owned(),
            Some(_) => "wrong".to_owned(),
        },
        Some(Value::String(word)) if is_word(word) => word.clone(),
        Some(other) => {
            let other = flowrl_lm::short(&other.to_string());
            return Err(format!(
                "answered `verdict` {other}, but it must be a word of a–z, 0–9 and - of at most 64 characters"
            ));
        }
    };
    let mut judgement = match reward {
        Some(reward) => Judgement::new(reward, verdict),
        None => Judgement::without_reward(verdict),
    };
    match fields.get("parts") {
        None | Some(Value::Null) => {}
        Some(Value::Object(parts)) => {
            for (name, reward) in parts {
                judgement.parts.push((name.clone().into(), finite(&format!("parts.{name}"), reward)?));
            }
        }
        Some(other) => {
            return Err(format!("answered `parts` {}, but it must be an object", flowrl_lm::short(&other.to_string())));
        }
    }
    let text = |name: &str| fields.get(name).and_then(Value::as_str).map(Into::into);
    (judgement.answer, judgement.log) = (text("answer"), text("log"));
    Ok(judgement)
}

fn finite(name: &str, value: &Value) -> Result<f64, String> {
    let number = match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        other => other.as_f64(),
    };
    number.filter(|number| number.is_finite()).ok_or_else(|| {
        format!("answered `{name}` {}, but it must be a finite number", flowrl_lm::short(&value.to_string()))
    })
}

/// Returns whether a text can be a verdict.
fn is_word(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.len() <= 64 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_says_how_items_come() {
        for (line, wanted) in [
            (r#"{"hello": {"protocol": 1}}"#, 1),
            (r#"{"hello": {"protocol": 1, "batch": false, "max_batch": 9}}"#, 1),
            (r#"{"hello": {"protocol": 1, "batch": true}}"#, 64),
            (r#"{"hello": {"protocol": 1, "batch": true, "max_batch": 9}}"#, 9),
        ] {
            assert_eq!(Hello::parse(line), Ok(Hello { max_batch: wanted }), "{line}");
        }
        for (line, wanted) in [
            ("Loading weights…", "began with \"Loading weights…\""),
            ("{}", "began with {}"),
            (r#"{"hello": {"protocol": 2}}"#, "protocol 2"),
            (r#"{"hello": {"protocol": 1, "batch": true, "max_batch": 0}}"#, "at least 1"),
            (r#"{"error": "no function"}"#, "cannot start: no function"),
        ] {
            let message = Hello::parse(line).unwrap_err();
            assert!(message.contains(wanted), "{message}");
        }
    }

    #[test]
    fn an_answer_is_a_judgement() {
        let read = |line: &str| Answer::parse(line).map(|answer| answer.judgement);
        assert_eq!(read(r#"{"id": 3, "reward": 0.5}"#), Ok(Judgement::new(0.5, "correct")));
        assert_eq!(read(r#"{"id": 3, "reward": true}"#), Ok(Judgement::new(1.0, "correct")));
        assert_eq!(read(r#"{"id": 3, "reward": -1}"#), Ok(Judgement::new(-1.0, "wrong")));
        assert_eq!(read(r#"{"id": 3, "reward": null}"#), Ok(Judgement::without_reward("left-out")));
        assert_eq!(read(r#"{"id": 3, "reward": 0, "verdict": "too-long"}"#), Ok(Judgement::new(0.0, "too-long")));
        let whole = read(r#"{"id": 3, "reward": 1, "parts": {"format": 0.1}, "answer": "42"}"#).unwrap();
        assert_eq!((&whole.parts[..], whole.answer.as_deref()), (&[("format".into(), 0.1)][..], Some("42")));
    }

    #[test]
    fn mistakes_in_an_answer_are_named() {
        for (line, id, wanted) in [
            ("42", None, "not an object"),
            ("nonsense", None, "not JSON"),
            (r#"{"reward": 1}"#, None, "`id`"),
            (r#"{"id": -1, "reward": 1}"#, None, "`id`"),
            (r#"{"id": 1}"#, Some(1), "without `reward`"),
            (r#"{"id": 1, "reward": "1"}"#, Some(1), "`reward` \"1\""),
            (r#"{"id": 1, "reward": 1e999}"#, None, "not JSON"),
            (r#"{"id": 1, "reward": 1, "verdict": "Not ok"}"#, Some(1), "`verdict`"),
            (r#"{"id": 1, "reward": 1, "verdict": ""}"#, Some(1), "`verdict`"),
            (r#"{"id": 1, "reward": 1, "parts": 3}"#, Some(1), "`parts` 3"),
            (r#"{"id": 1, "reward": 1, "parts": {"a": null}}"#, Some(1), "`parts.a` null"),
        ] {
            let (found, message) = Answer::parse(line).unwrap_err();
            assert!(found == id && message.contains(wanted), "{line}: {found:?} {message}");
        }
    }
}
