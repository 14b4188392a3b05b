//! Verdicts on completions.

use super::answer::{Answer, readings};
use super::compare::compare_readings;
use super::extract::{Place, found};
use super::scalar::Same;
use super::value::Value;

/// The verdict on a completion that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The answer equals the correct one.
    Correct,
    /// The answer is another one.
    Wrong,
    /// There is no answer, or a list where one value is correct.
    Unparseable,
    /// The answer is not understood, or cannot be compared.
    Unknown,
}

impl Verdict {
    /// Returns the word for this verdict in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Correct => "correct",
            Self::Wrong => "wrong",
            Self::Unparseable => "unparseable",
            Self::Unknown => "unknown",
        }
    }
}

/// Returns the meanings of a correct answer: of all of it, or of the part that a solution marks as its answer.
pub(super) fn gold_readings(gold: &str) -> Vec<Answer> {
    let marked = gold.contains("boxed{") || gold.contains("\\fbox{") || gold.contains("####");
    let whole = if marked { Vec::new() } else { readings(gold) };
    if !whole.is_empty() {
        return whole;
    }
    found(gold).map_or_else(Vec::new, |(text, _)| readings(&text))
}

/// Returns whether a correct answer is understood, so that it can be compared.
pub fn is_understood(gold: &str) -> bool {
    !gold_readings(gold).is_empty()
}

/// Judges a completion that has ended, by the correct answer or a solution that states it.
pub fn judge(gold: &str, completion: &str) -> Verdict {
    let Some((text, place)) = found(completion) else { return Verdict::Unparseable };
    if text.trim().is_empty() {
        return Verdict::Unparseable;
    }
    let (gold, prediction) = (gold_readings(gold), readings(&text));
    let is_list = |answers: &[Answer]| {
        answers.first().is_some_and(|answer| matches!(&answer.value, Value::List(items) if items.len() > 1))
    };
    let is_text = |answers: &[Answer]| answers.first().is_some_and(|answer| answer.value == Value::Text);
    match compare_readings(&gold, &prediction) {
        Same::Yes => Verdict::Correct,
        _ if is_list(&prediction) && gold.first().is_some_and(|gold| gold.value.is_single()) => Verdict::Unparseable,
        // A few words are no answer to a question for a number.
        _ if place == Place::Last && is_text(&prediction) && !is_text(&gold) => Verdict::Unparseable,
        Same::No => Verdict::Wrong,
        Same::Unknown => Verdict::Unknown,
    }
}
