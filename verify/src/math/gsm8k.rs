//! The two rules by which verl judges GSM8K.

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_lm::{Error, Result};

use super::gold::{answer_text, shown};

/// verl reads only this many characters at the end of a completion.
const CLIP: usize = 300;

/// Judges as verl does with `method="strict"`: the number after the last `#### ` in the last 300 characters, without
/// commas, must be the text of the answer.
///
/// ```
/// use flowrl_lm::prompts::PromptRow;
/// use flowrl_lm::verify::{Attempt, Verifier};
/// use flowrl_verify::math::Gsm8kStrict;
/// let row = PromptRow { answer: "He has 9 * 8 = 72. #### 72".into(), ..PromptRow::text("9 · 8?") };
/// let verdict = |completion| Gsm8kStrict.judge(Attempt { row: &row, completion, ended: true, tokens: 9 }).map(|judgement| judgement.verdict);
/// assert_eq!(verdict("#### 72")?, "correct");
/// assert_eq!(verdict("#### 72.0")?, "wrong");
/// assert_eq!(verdict("It is 72")?, "unparseable");
/// # Ok::<(), flowrl_core::task::JudgeError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Gsm8kStrict;

/// Judges as verl does with `method="flexible"`: the last run of digits, points and commas in the last 300 characters must be
/// the text of the answer.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gsm8kFlexible;

impl Verifier for Gsm8kStrict {
    fn name(&self) -> &str {
        "gsm8k-strict"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        check(row)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        Ok(judge(attempt, |text| strict(text).map(|number| number.replace(',', ""))))
    }
}

impl Verifier for Gsm8kFlexible {
    fn name(&self) -> &str {
        "gsm8k-flexible"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        check(row)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        Ok(judge(attempt, |text| flexible(text).map(str::to_owned)))
    }
}

fn check(row: &PromptRow) -> Result<()> {
    let wanted =
        "a number such as 72 or -3.5, as an integer or a text without commas, or a solution that ends in `#### 72`";
    match truth(row) {
        Some(number) if length(&number) == number.len() && !number.is_empty() && !number.contains(',') => Ok(()),
        _ => Err(Error::Argument { name: "answer", got: shown(&row.answer), wanted: wanted.into() }),
    }
}

/// Returns the number of an answer, or the one after `#### ` in a solution, without commas.
fn truth(row: &PromptRow) -> Option<String> {
    let text = answer_text(&row.answer)?;
    match text.split_once("#### ") {
        Some((_, after)) => Some(after[..length(after)].replace(',', "")),
        None => Some(text.trim().to_owned()),
    }
}

fn judge(attempt: Attempt<'_>, extract: impl Fn(&str) -> Option<String>) -> Judgement {
    let verdict = match truth(attempt.row) {
        None => "no-answer",
        Some(_) if !attempt.ended => "unfinished",
        Some(truth) => match extract(clipped(attempt.completion)) {
            None => "unparseable",
            Some(answer) if answer == truth => "correct",
            Some(_) => "wrong",
        },
    };
    Judgement::new(f64::from(u8::from(verdict == "correct")), verdict)
}

/// Returns the last characters of a text.
fn clipped(text: &str) -> &str {
    text.char_indices().nth_back(CLIP - 1).map_or(text, |(at, _)| &text[at..])
}

/// Returns the length of `-?[0-9.,]+` at the start of a text; 0 if it does not match.
fn length(text: &str) -> usize {
    let sign = usize::from(text.starts_with('-'));
    let digits = text.bytes().skip(sign).take_while(|b| b.is_ascii_digit() || b".,".contains(b)).count();
    if digits == 0 { 0 } else { sign + digits }
}

/// Returns the number after the last `#### ` that has one.
fn strict(text: &str) -> Option<&str> {
    let after = text.rmatch_indices("#### ").map(|(at, mark)| &text[at + mark.len()..]);
    after.map(|after| &after[..length(after)]).find(|number| !number.is_empty())
}

/// Returns the last number other than ".", or the first if all are.
fn flexible(text: &str) -> Option<&str> {
    let mut numbers = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let length = length(&text[at..]);
        if length > 0 {
            numbers.push(&text[at..at + length]);
        }
        at += length.max(text[at..].chars().next().map_or(1, char::len_utf8));
    }
    numbers.iter().rev().find(|number| **number != ".").or(numbers.first()).copied()
}
