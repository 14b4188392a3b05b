//! Completions with their rewards as JSON lines, so that completions of any sampler can be used for training.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::chat::ChatInputs;
use crate::error::{Error, Result};
use crate::jsonl;
use crate::prompts::{Origin, Prompt, check_chat};

/// One completion with its reward. At least one of `completion` and `completion_ids` is given; if both are, the
/// ids count.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutRow {
    /// The prompt that the completion continues.
    pub prompt: Prompt,
    /// Inputs of the chat template other than the messages.
    #[serde(flatten)]
    pub chat: ChatInputs,
    /// Text of the completion, without the end token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
    /// Tokens of the completion, including the end token if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_ids: Option<Vec<u32>>,
    /// Raw reward; finite. Without it, the verifier judges the row, or has judged it and left it out.
    #[serde(default)]
    pub reward: Option<f64>,
    /// Rewards of which `reward` is a weighted sum, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub parts: Map<String, Value>,
    /// The answer with which a verifier compares, for a row without `reward`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub answer: Value,
    /// log π_old of each token of `completion_ids`; at most 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_logp: Option<Vec<f64>>,
    /// Group of the row: rows with the same number are samples of one prompt. Without it, rows with equal
    /// prompts form a group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<u64>,
    /// Reason for which generation stopped, in the words of inference servers: `stop`, `length`, …; see
    /// [`Self::ended`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish_reason: Option<String>,
    /// Stop string that ended the completion, if one did. After an end token, servers give null or its number.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub stop_reason: Value,
    /// Reason for the reward, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// Training step that sampled the row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Whether the row belongs to an evaluation on held-out prompts; such rows are not for training.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held_out: bool,
    /// Name of the set of prompts that an evaluation measured, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Whether an evaluation decoded the row greedily, in addition to its samples.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub greedy: bool,
    /// Where the row comes from, for error messages.
    #[serde(skip)]
    pub origin: Origin,
}

/// Reasons that mark a complete completion, in OpenAI's interface, vLLM, SGLang and TGI.
const FINISHED: [&str; 5] = ["stop", "eos_token", "stop_sequence", "tool_calls", "function_call"];

/// Reasons that mark a completion that was cut off.
const CUT: [&str; 4] = ["length", "abort", "content_filter", "error"];

/// Tolerance for log-probabilities above 0 from the rounding of other engines.
const ROUNDING: f64 = 1e-3;

impl RolloutRow {
    /// Returns whether this completion ended by itself rather than being cut off, or [`None`] if `finish_reason`
    /// is not given.
    pub fn ended(&self) -> Option<bool> {
        self.finish_reason.as_deref().map(|reason| FINISHED.contains(&reason))
    }

    /// Returns whether a stop string ended this completion, in which case it has no end token.
    pub fn ended_by_string(&self) -> bool {
        self.stop_reason.is_string() || self.finish_reason.as_deref() == Some("stop_sequence")
    }

    /// Appends this row as one line.
    ///
    /// # Errors
    /// Returns [`Error::Argument`] if the row could not be read back, or [`Error::Io`] with `path` in its message.
    pub fn write_line(&self, writer: &mut impl Write, path: &Path) -> Result<()> {
        self.check().map_err(|got| Error::argument("rollout", got, "a row that can be read back"))?;
        let mut line = serde_json::to_vec(self).map_err(Error::json(path))?;
        line.push(b'\n');
        writer.write_all(&line).map_err(Error::io("write", path))
    }

    fn check(&self) -> Result<(), String> {
        check_chat(&self.prompt, &self.chat)?;
        if let Some(reward) = self.reward.filter(|reward| !reward.is_finite()) {
            return Err(format!("`reward` is {reward}, but must be finite"));
        }
        if self.completion.is_none() && self.completion_ids.is_none() {
            return Err("neither `completion` nor `completion_ids` is given; add one of them".into());
        }
        self.finish_reason.as_deref().map(is_finished).transpose()?;
        let Some(old_logp) = &self.old_logp else { return Ok(()) };
        let Some(ids) = &self.completion_ids else {
            return Err("`old_logp` without `completion_ids`: give the tokens it belongs to, or leave it out".into());
        };
        if old_logp.len() != ids.len() {
            return Err(format!(
                "`old_logp` has {} numbers for {} tokens in `completion_ids`",
                old_logp.len(),
                ids.len()
            ));
        }
        match old_logp.iter().position(|l| !l.is_finite() || *l > ROUNDING) {
            Some(i) => Err(format!("`old_logp[{i}]` is {}, but must be finite and at most 0", old_logp[i])),
            None => Ok(()),
        }
    }
}

/// Returns whether a reason marks a complete completion.
fn is_finished(reason: &str) -> Result<bool, String> {
    if FINISHED.contains(&reason) || CUT.contains(&reason) {
        return Ok(FINISHED.contains(&reason));
    }
    let (finished, cut) = (FINISHED.join(", "), CUT.join(", "));
    Err(format!("`finish_reason` is {reason:?}, but must be one of {finished} or, if cut off, one of {cut}"))
}

/// Returns whether the completion of a row ended by itself, or [`None`] if the row has no `finish_reason`.
///
/// # Errors
/// Returns a message if the reason is unknown.
pub fn has_ended(row: &Map<String, Value>) -> Result<Option<bool>, String> {
    match row.get("finish_reason") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(reason)) => is_finished(reason).map(Some),
        Some(Value::Object(reason)) if reason.get("type").is_some_and(Value::is_string) => {
            is_finished(reason["type"].as_str().unwrap_or_default()).map(Some)
        }
        Some(other) => Err(format!("`finish_reason` is {other}, but must be a string")),
    }
}

/// Reads a file of rollouts. Keys that are not fields of [`RolloutRow`] are ignored.
///
/// # Errors
/// Returns [`Error::Io`]; [`Error::Line`] with the number of the first line that has bad JSON, a missing or non-finite
/// number or an `old_logp` that does not fit `completion_ids`; or [`Error::Argument`] if there is no row.
pub fn read_rollouts(path: &Path) -> Result<Vec<RolloutRow>> {
    parse_rollouts(&std::fs::read(path).map_err(Error::io("read", path))?, path)
}

/// Parses rollouts from memory, as [`read_rollouts`] does from a file; `path` is for error messages.
fn parse_rollouts(bytes: &[u8], path: &Path) -> Result<Vec<RolloutRow>> {
    let file: Arc<str> = path.to_string_lossy().into();
    let origin = |line| Origin { file: Arc::clone(&file), line, ..Origin::default() };
    let rows = jsonl::parse(bytes, path, |line, object| rollout_of(origin(line), object))?;
    if rows.is_empty() {
        return Err(Error::argument("rollouts", format!("{} without a row", path.display()), "at least one rollout"));
    }
    Ok(rows)
}

/// Makes a rollout from an object.
///
/// # Errors
/// Returns a message with the key that is missing or wrong.
pub fn rollout_of(origin: Origin, mut object: Map<String, Value>) -> Result<RolloutRow, String> {
    flatten_reason(&mut object);
    let row = RolloutRow { origin, ..jsonl::row(object)? };
    row.check().map(|()| row)
}

/// Flattens a reason that SGLang gives as an object: `{"type": "stop", "matched": "\n\n"}`, or with a token in
/// place of the string.
fn flatten_reason(row: &mut Map<String, Value>) {
    let Some(Value::Object(reason)) = row.get_mut("finish_reason") else { return };
    let Some(kind) = reason.remove("type") else { return };
    let matched = reason.remove("matched").unwrap_or_default();
    row.insert("finish_reason".into(), kind);
    let stop_reason = row.entry("stop_reason").or_insert(Value::Null);
    if stop_reason.is_null() {
        *stop_reason = matched;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<RolloutRow>> {
        parse_rollouts(text.as_bytes(), Path::new("r.jsonl"))
    }

    #[test]
    fn a_row_comes_back_bit_for_bit() {
        let row = RolloutRow {
            prompt: serde_json::from_str(r#"[{"role": "user", "content": "3 5 = 8 : ", "name": "x"}]"#).unwrap(),
            chat: ChatInputs { tools: serde_json::json!([{"type": "function"}]), ..ChatInputs::default() },
            completion: Some("3+5".into()),
            completion_ids: Some(vec![1, 2, 3, 0]),
            reward: Some(0.1 + 0.2),
            parts: Map::from_iter([("format".to_owned(), Value::from(0.1))]),
            answer: Value::from("8"),
            old_logp: Some(vec![-0.1, f64::from(-1.234_567_9_f32), -1e-300, 0.0]),
            group: Some(3),
            finish_reason: Some("stop".into()),
            stop_reason: Value::Null,
            verdict: Some("correct".into()),
            step: Some(12),
            held_out: true,
            set: Some("a-1".into()),
            greedy: true,
            origin: Origin::default(),
        };
        let mut file = Vec::new();
        row.write_line(&mut file, Path::new("r.jsonl")).unwrap();
        row.write_line(&mut file, Path::new("r.jsonl")).unwrap();
        assert_eq!(parse_rollouts(&file, Path::new("r.jsonl")).unwrap(), [row.clone(), row]);
    }

    #[test]
    fn bad_rows_are_named() {
        for (fields, wanted) in [
            (r#""completion": "a", "reward": "1""#, "invalid type"),
            (r#""completion": "a", "reward": NaN"#, "not valid JSON"),
            (r#""completion": "a", "reward": 1e999"#, "out of range"),
            (r#""reward": 1"#, "neither"),
            (r#""completion": "a", "reward": 1, "old_logp": [-1]"#, "without `completion_ids`"),
            (r#""completion_ids": [1, 2], "reward": 1, "old_logp": [-1]"#, "1 numbers for 2 tokens"),
            (r#""completion_ids": [1], "reward": 1, "old_logp": [0.5]"#, "`old_logp[0]` is 0.5"),
            (r#""completion_ids": [1], "reward": 1, "old_logp": [null]"#, "null"),
            (r#""completion_ids": [-1], "reward": 1"#, "-1"),
            (r#""completion": "a", "reward": 1, "group": -1"#, "-1"),
            (r#""completion": "a", "reward": 1, "finish_reason": "tired""#, "`finish_reason` is \"tired\""),
            (r#""completion": "a", "reward": 1, "finish_reason": {"type": "tired"}"#, "`finish_reason` is \"tired\""),
            (r#""completion": "a", "reward": 1, "finish_reason": {"kind": "stop"}"#, "a string"),
        ] {
            let message = parse(&format!("\n{{\"prompt\": \"p\", {fields}}}")).unwrap_err().to_string();
            assert!(message.starts_with("r.jsonl:2: ") && message.contains(wanted), "{fields}: {message}");
        }
    }

    #[test]
    fn a_reason_says_whether_a_completion_ended() {
        for (fields, ended, by_string) in [
            ("", None, false),
            (r#", "finish_reason": null"#, None, false),
            (r#", "finish_reason": "stop", "stop_reason": null"#, Some(true), false),
            (r#", "finish_reason": "stop", "stop_reason": 151645"#, Some(true), false),
            (r#", "finish_reason": "stop", "stop_reason": "\n\n""#, Some(true), true),
            (r#", "finish_reason": {"type": "stop", "matched": 151645}"#, Some(true), false),
            (r#", "finish_reason": {"type": "stop", "matched": "\n\n"}"#, Some(true), true),
            (r#", "finish_reason": {"type": "length", "length": 64}"#, Some(false), false),
            (r#", "finish_reason": "length""#, Some(false), false),
            (r#", "finish_reason": "abort""#, Some(false), false),
        ] {
            let row =
                &parse(&format!("{{\"prompt\": \"p\", \"completion\": \"a\", \"reward\": 1{fields}}}")).unwrap()[0];
            assert_eq!((row.ended(), row.ended_by_string()), (ended, by_string), "{fields}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let row = parse(r#"{"prompt": "p", "completion": "a", "reward": 1}"#).unwrap().remove(0);
        let row = RolloutRow { reward: Some(f64::NAN), ..row };
        let mut file = Vec::new();
        assert!(row.write_line(&mut file, Path::new("r.jsonl")).unwrap_err().to_string().contains("NaN"));
        assert!(file.is_empty());
    }
}
