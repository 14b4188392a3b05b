//! The verifier `math`.

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};
use flowrl_lm::{Error, Result};

use super::canonical::canonical;
use super::gold::{answer_text, shown};
use super::judge::{Verdict, is_understood, judge};

/// Compares the answer that a completion states with the mathematical answer of its row.
///
/// Verdicts: `correct`, `wrong`, `unparseable` (no answer, or a list of guesses), `unknown` (not understood), `unfinished` and
/// `no-answer`. Only the first has a reward. See `docs/verifiers.md`.
///
/// ```
/// use flowrl_lm::prompts::PromptRow;
/// use flowrl_lm::verify::{Attempt, Verifier};
/// use flowrl_verify::math::Math;
/// let row = PromptRow { answer: "2\\sqrt{3}".into(), ..PromptRow::text("√12?") };
/// let judgement = Math::new().judge(Attempt { row: &row, completion: "It is \\boxed{\\sqrt{12}}.", ended: true, tokens: 9 })?;
/// assert_eq!(judgement.verdict, "correct");
/// # Ok::<(), flowrl_core::task::JudgeError>(())
/// ```
#[derive(Debug, Default)]
pub struct Math {
    fallback: Option<Box<dyn Verifier>>,
}

impl Math {
    /// Creates the verifier without a fallback: answers that it does not understand are `unknown`, with reward 0.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates the verifier with another one, which judges only the completions that would be `unknown`.
    pub fn with_fallback(fallback: Box<dyn Verifier>) -> Self {
        Self { fallback: Some(fallback) }
    }

    /// Judges without the fallback.
    fn own(attempt: &Attempt<'_>) -> &'static str {
        match answer_text(&attempt.row.answer) {
            None => "no-answer",
            Some(answer) if answer.trim().is_empty() => "no-answer",
            Some(_) if !attempt.ended => "unfinished",
            Some(answer) => judge(&answer, attempt.completion).word(),
        }
    }
}

/// The forms of an answer, for error messages.
const FORMS: &str = "an answer in LaTeX or plain text, for example `-1,234.5`, `50%`, `3/4`, `2\\sqrt{3}`, `x = 5`, `(1, 2)`, \
                     `\\{1, 2\\}`, `[0, 1)`, `x^2 + 1`, `\\text{odd}`, or a solution with the answer in \\boxed{…} or after ####; \
                     decimals and whole numbers beyond 15 digits must be strings";

impl Verifier for Math {
    fn name(&self) -> &str {
        "math"
    }

    /// Checks that the answer is understood. With a fallback, it may be any text.
    fn check(&self, row: &PromptRow) -> Result<()> {
        let text = answer_text(&row.answer).filter(|text| !text.trim().is_empty());
        match text {
            Some(text) if self.fallback.is_none() && !is_understood(&text) => Err(refused(row)),
            Some(_) => self.fallback.as_ref().map_or(Ok(()), |fallback| fallback.check(row)),
            None => Err(refused(row)),
        }
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        match (Self::own(&attempt), &self.fallback) {
            (verdict, Some(fallback)) if verdict == Verdict::Unknown.word() => fallback.judge(attempt),
            (verdict, _) => Ok(judgement(verdict, &attempt)),
        }
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let mut judgements: Vec<Judgement> =
            attempts.iter().map(|attempt| judgement(Self::own(attempt), attempt)).collect();
        let Some(fallback) = &self.fallback else { return Ok(judgements) };
        let unknown = |index: &usize| judgements[*index].verdict == Verdict::Unknown.word();
        let indices: Vec<usize> = (0..attempts.len()).filter(unknown).collect();
        if indices.is_empty() {
            return Ok(judgements);
        }
        let left: Vec<Attempt<'_>> = indices.iter().map(|index| attempts[*index]).collect();
        let answers = fallback.judge_batch(&left)?;
        if answers.len() != indices.len() {
            return Err(format!("{} judged {} of {} completions", fallback.name(), answers.len(), indices.len()).into());
        }
        for (index, answer) in indices.into_iter().zip(answers) {
            judgements[index] = answer;
        }
        Ok(judgements)
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        self.fallback.as_ref().map_or_else(Vec::new, |fallback| fallback.take_metrics())
    }
}

/// Gives reward 1 for `correct` and 0 for anything else, with the canonical form of the answer.
fn judgement(verdict: &'static str, attempt: &Attempt<'_>) -> Judgement {
    let mut judgement = Judgement::new(f64::from(u8::from(verdict == "correct")), verdict);
    judgement.answer = canonical(attempt.completion).filter(|_| attempt.ended).map(Into::into);
    judgement
}

fn refused(row: &PromptRow) -> Error {
    Error::Argument { name: "answer", got: shown(&row.answer), wanted: FORMS.into() }
}
