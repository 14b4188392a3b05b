//! The text of a row's answer.

use std::borrow::Cow;

use serde_json::Value;

/// Returns the text of an answer that is a string, a boolean, or a number that has kept its digits in JSON.
pub(super) fn answer_text(answer: &Value) -> Option<Cow<'_, str>> {
    match answer {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
        Value::Number(number) if number.is_f64() => {
            // An `f64` keeps 15 digits of any number; with more, some may be lost.
            let text = number.as_f64()?.to_string();
            let digits = text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
            (digits <= 15).then_some(Cow::Owned(text))
        }
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        _ => None,
    }
}

/// Returns the beginning of an answer, for error messages.
pub(super) fn shown(answer: &Value) -> String {
    let text = answer.to_string();
    match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
