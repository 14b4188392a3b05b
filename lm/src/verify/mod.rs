//! Verifiers, which give a completion a reward and a verdict.

mod number;

use flowrl_core::task::{JudgeError, Judgement};
use serde_json::Value;

use crate::countdown::Problem;
use crate::error::{Error, Result, short};
use crate::prompts::PromptRow;
pub use number::Number;

/// One completion to judge.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The row of its prompt, with the answer.
    pub row: &'a PromptRow,
    /// Text of the completion, without special tokens.
    pub completion: &'a str,
    /// Whether its end token was sampled, rather than the limit reached.
    pub ended: bool,
    /// Number of tokens of the completion.
    pub tokens: usize,
}

/// Judges completions. The verifiers of this crate give rewards of 1 or 0; any finite number is allowed.
///
/// ```
/// use flowrl_lm::prompts::PromptRow;
/// use flowrl_lm::verify::{self, Attempt};
/// let verifier = verify::by_name("number")?;
/// let row = PromptRow { answer: 1000.into(), ..PromptRow::text("10 · 100?") };
/// verifier.check(&row)?;
/// let judgement = verifier.judge(Attempt { row: &row, completion: "It is $1,000.", ended: true, tokens: 6 })?;
/// assert_eq!((judgement.reward, &*judgement.verdict), (Some(1.0), "correct"));
/// # Ok::<(), flowrl_core::task::JudgeError>(())
/// ```
pub trait Verifier: std::fmt::Debug + Send + Sync {
    /// Returns the name used in configuration files and messages.
    fn name(&self) -> &str;

    /// Checks that a row has the fields that [`Self::judge`] needs. This runs on every row before training. By default
    /// every row is accepted.
    ///
    /// # Errors
    /// Returns [`Error::Argument`] with the field and the form it should have.
    fn check(&self, _row: &PromptRow) -> Result<()> {
        Ok(())
    }

    /// Judges one completion.
    ///
    /// A completion that was cut off should be `unfinished` with reward 0; if the row fails [`Self::check`], the verdict
    /// should be `no-answer` with reward 0.
    ///
    /// # Errors
    /// Returns the reason why there is no verdict, for example a server that does not answer. This ends the training step.
    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError>;

    /// Judges all completions of a step, in order. By default this goes through them one after another; a slow verifier
    /// overrides it to work on many at once.
    ///
    /// # Errors
    /// See [`Self::judge`].
    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        attempts.iter().map(|attempt| self.judge(*attempt)).collect()
    }

    /// Returns what this verifier measured of itself since the last call, by the names of metrics: times, restarts.
    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
}

/// A verifier that several tasks share.
impl<V: Verifier + ?Sized> Verifier for std::sync::Arc<V> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        (**self).check(row)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        (**self).judge(attempt)
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        (**self).judge_batch(attempts)
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        (**self).take_metrics()
    }
}

/// The names that [`by_name`] accepts.
pub const NAMES: [&str; 3] = ["countdown", "exact", "number"];

/// Returns the verifier of a name: `countdown`, `exact` or `number`.
///
/// # Errors
/// Returns [`Error::Argument`] with the list of names.
pub fn by_name(name: &str) -> Result<Box<dyn Verifier>> {
    match name {
        "countdown" => Ok(Box::new(Countdown)),
        "exact" => Ok(Box::new(Exact)),
        "number" => Ok(Box::new(Number)),
        _ => Err(Error::argument("verifier", format!("{name:?}"), format!("one of {}", NAMES.join(", ")))),
    }
}

/// Reads the problem from the prompt, `3 5 7 = 22 : `; see [`Problem::judge`] for the verdicts. The canonical form of an
/// answer is its text.
#[derive(Clone, Copy, Debug, Default)]
pub struct Countdown;

impl Verifier for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        let question = row.prompt.question();
        let wrong =
            || Error::argument("prompt", short(&format!("{question:?}")), "a countdown problem, `3 5 7 = 22 : `");
        Problem::parse(question).map(drop).ok_or_else(wrong)
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        Ok(match Problem::parse(attempt.row.prompt.question()) {
            Some(problem) => problem.judge(attempt.completion, attempt.ended),
            None => judgement("no-answer", None),
        })
    }
}

/// Compares the completion with `answer`, a string, number or boolean, ignoring white space at the ends. The canonical
/// form of an answer is its text without this white space.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exact;

impl Verifier for Exact {
    fn name(&self) -> &str {
        "exact"
    }

    fn check(&self, row: &PromptRow) -> Result<()> {
        answer_text(&row.answer).map(drop).map_err(|wanted| refused(row, wanted))
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let stated = attempt.completion.trim();
        let verdict = match answer_text(&attempt.row.answer) {
            Err(_) => "no-answer",
            Ok(_) if !attempt.ended => "unfinished",
            Ok(answer) if answer.trim() == stated => "correct",
            Ok(_) => "wrong",
        };
        Ok(judgement(verdict, attempt.ended.then(|| stated.into())))
    }
}

/// Gives reward 1 for `correct` and 0 for anything else. `answer` is the canonical form of a completion's answer.
fn judgement(verdict: &'static str, answer: Option<Box<str>>) -> Judgement {
    let mut judgement = Judgement::new(f64::from(u8::from(verdict == "correct")), verdict);
    judgement.answer = answer;
    judgement
}

/// Returns the text of an answer that is a string, number or boolean; otherwise the form that an answer should have.
fn answer_text(answer: &Value) -> Result<String, &'static str> {
    match answer {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) if !keeps_digits(number) => {
            Err("a string, `\"…\"`: as a JSON number it may have lost digits beyond the fifteenth")
        }
        Value::Number(_) | Value::Bool(_) => Ok(answer.to_string()),
        _ => Err("a string, a number, true or false"),
    }
}

/// Returns whether a number has kept all digits of the file. Decimals, and integers that do not fit 64 bits,
/// were read as an `f64`, which keeps 15 digits of any number.
fn keeps_digits(number: &serde_json::Number) -> bool {
    let digits = |text: &str| text.trim_start_matches(['-', '0', '.']).bytes().filter(u8::is_ascii_digit).count();
    number.as_f64().filter(|_| number.is_f64()).is_none_or(|value| digits(&format!("{value}")) <= 15)
}

/// Returns the error for a row with an unusable answer, which shows the beginning of the answer.
fn refused(row: &PromptRow, wanted: &str) -> Error {
    Error::argument("answer", short(&row.answer.to_string()), wanted)
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

    fn judge(verifier: &dyn Verifier, row: &PromptRow, completion: &str, ended: bool) -> Judgement {
        verifier.judge(Attempt { row, completion, ended, tokens: 1 }).unwrap()
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
            assert_eq!(
                judge(&Exact, &row(answer.clone()), completion, true).verdict,
                wanted,
                "{answer} {completion:?}"
            );
        }
        assert_eq!(judge(&Exact, &row(json!("a")), "a", false), Judgement::new(0.0, "unfinished"));
        assert_eq!(judge(&Exact, &row(json!("a")), "a", true).reward, Some(1.0));
        assert_eq!(judge(&Exact, &row(json!("a")), " b \n", true).answer.as_deref(), Some("b"));
        assert!(Exact.check(&row(json!(null))).unwrap_err().to_string().contains("`answer`"));
        assert!(Exact.check(&row(json!(3))).is_ok());
        let lost = row(serde_json::from_str("100000000000000000001").unwrap());
        assert!(Exact.check(&lost).unwrap_err().to_string().contains("must be a string"));
    }

    #[test]
    fn countdown_reads_the_last_message() {
        let messages = vec![Message::user("be brief"), Message::user("Reach it:\n3 5 7 = 22 : ")];
        let row = PromptRow { prompt: Prompt::Messages(messages), ..row(Value::Null) };
        Countdown.check(&row).unwrap();
        let correct = judge(&Countdown, &row, "3*5+7", true);
        assert_eq!((&*correct.verdict, correct.answer.as_deref()), ("correct", Some("3*5+7")));
        for completion in ["3*5", "(3*5)+7", "3*5-7"] {
            assert_eq!(judge(&Countdown, &row, completion, true).answer.as_deref(), Some(completion));
        }
        assert_eq!(judge(&Countdown, &row, "3*5+", true).answer, None);
        assert_eq!(judge(&Countdown, &row, "3*5+7", false), Judgement::new(0.0, "unfinished"));
        let other = PromptRow::text("What is 2+2?");
        assert!(Countdown.check(&other).is_err());
        assert_eq!(judge(&Countdown, &other, "4", true).verdict, "no-answer");
    }
}
