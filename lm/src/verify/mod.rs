//! Verifiers: from a prompt's row and a completion to a reward and a verdict.

mod number;

use flowrl_core::task::Judgement;
use serde_json::Value;

use crate::countdown::Problem;
use crate::error::{Error, Result};
use crate::prompts::PromptRow;
pub use number::Number;

/// Judges completions. Rewards are 1 or 0 in the verifiers here, any finite number in general.
///
/// ```
/// use flowrl_lm::prompts::PromptRow;
/// use flowrl_lm::verify;
/// let verifier = verify::by_name("number")?;
/// let row = PromptRow { answer: 1000.into(), ..PromptRow::text("10 · 100?") };
/// verifier.check(&row)?;
/// assert_eq!(verifier.judge(&row, "It is $1,000.", true).verdict, "correct");
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
pub trait Verifier: std::fmt::Debug + Send + Sync {
    /// The name in configuration files.
    fn name(&self) -> &'static str;

    /// Whether the row has what [`Self::judge`] needs. Call it on every row before training.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] naming the field and the form it should have.
    fn check(&self, row: &PromptRow) -> Result<()>;

    /// Judges the text of a completion, without special tokens; `ended` says whether its end token was sampled.
    ///
    /// A completion that was cut off is `unfinished` with reward 0, and a row that fails [`Self::check`] gives
    /// `no-answer` with reward 0.
    fn judge(&self, row: &PromptRow, completion: &str, ended: bool) -> Judgement;
}

/// The names that [`by_name`] knows.
pub const NAMES: [&str; 3] = ["countdown", "exact", "number"];

/// The verifier of a name: `countdown`, `exact` or `number`.
///
/// # Errors
///
/// [`Error::Argument`] listing the names.
pub fn by_name(name: &str) -> Result<Box<dyn Verifier>> {
    match name {
        "countdown" => Ok(Box::new(Countdown)),
        "exact" => Ok(Box::new(Exact)),
        "number" => Ok(Box::new(Number)),
        _ => Err(Error::argument("verifier", format!("{name:?}"), format!("one of {}", NAMES.join(", ")))),
    }
}

/// The problem is read from the prompt, `3 5 7 = 22 : `; see [`Problem::judge`] for the verdicts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Countdown;

impl Verifier for Countdown {
    fn name(&self) -> &'static str {
        "countdown"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        let question = row.prompt.question();
        let wrong = || Error::argument("prompt", format!("{question:?}"), "a countdown problem, `3 5 7 = 22 : `");
        Problem::parse(question).map(drop).ok_or_else(wrong)
    }

    fn judge(&self, row: &PromptRow, completion: &str, ended: bool) -> Judgement {
        match Problem::parse(row.prompt.question()) {
            Some(problem) => problem.judge(completion, ended),
            None => judgement("no-answer"),
        }
    }
}

/// The completion equals `answer`, a string, number or boolean, apart from white space at the ends.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Verifier for Exact {
    fn name(&self) -> &'static str {
        "exact"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        let wrong = || Error::argument("answer", &row.answer, "a string, a number, true or false");
        answer_text(&row.answer).map(drop).ok_or_else(wrong)
    }

    fn judge(&self, row: &PromptRow, completion: &str, ended: bool) -> Judgement {
        judgement(match answer_text(&row.answer) {
            None => "no-answer",
            Some(_) if !ended => "unfinished",
            Some(answer) if answer.trim() == completion.trim() => "correct",
            Some(_) => "wrong",
        })
    }
}

/// Reward 1 for `correct`, 0 for anything else.
fn judgement(verdict: &'static str) -> Judgement {
    Judgement { reward: f64::from(u8::from(verdict == "correct")), verdict }
}

/// The text of an answer that is a string, number or boolean.
fn answer_text(answer: &Value) -> Option<String> {
    match answer {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(answer.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::chat::Message;
    use crate::prompts::Prompt;

    fn row(answer: Value) -> PromptRow {
        PromptRow { answer, ..PromptRow::text("q") }
    }

    #[test]
    fn names_lead_to_verifiers() {
        for name in NAMES {
            assert_eq!(by_name(name).unwrap().name(), name);
        }
        assert!(by_name("math").unwrap_err().to_string().contains("countdown, exact, number"));
    }

    #[test]
    fn exact_ignores_white_space_at_the_ends_only() {
        for (answer, completion, wanted) in [
            (json!("Paris"), " Paris\n", "correct"),
            (json!(" Paris"), "Paris", "correct"),
            (json!("Paris"), "paris", "wrong"),
            (json!("a b"), "a  b", "wrong"),
            (json!(12), "12", "correct"),
            (json!(1.5), "1.5", "correct"),
            (json!(true), "true", "correct"),
            (json!(""), "", "correct"),
            (json!(null), "", "no-answer"),
            (json!([1]), "[1]", "no-answer"),
        ] {
            assert_eq!(Exact.judge(&row(answer.clone()), completion, true).verdict, wanted, "{answer} {completion:?}");
        }
        assert_eq!(Exact.judge(&row(json!("a")), "a", false), Judgement { reward: 0.0, verdict: "unfinished" });
        assert_eq!(Exact.judge(&row(json!("a")), "a", true).reward, 1.0);
        assert!(Exact.check(&row(json!(null))).unwrap_err().to_string().contains("`answer`"));
        assert!(Exact.check(&row(json!(3))).is_ok());
    }

    #[test]
    fn countdown_reads_the_last_message() {
        let messages = vec![Message::user("be brief"), Message::user("Reach it:\n3 5 7 = 22 : ")];
        let row = PromptRow { prompt: Prompt::Messages(messages), ..row(Value::Null) };
        Countdown.check(&row).unwrap();
        assert_eq!(Countdown.judge(&row, "3*5+7", true).verdict, "correct");
        assert_eq!(Countdown.judge(&row, "3*5+7", false).verdict, "unfinished");
        let other = PromptRow::text("What is 2+2?");
        assert!(Countdown.check(&other).is_err());
        assert_eq!(Countdown.judge(&other, "4", true).verdict, "no-answer");
    }
}
