//! Countdown: reach a target with three or four numbers, each used once.
//!
//! `3 5 7 = 22 : ` asks for an expression such as `3*5+7`. Every correct answer of a problem can be enumerated,
//! so a real transformer can be compared with the exact target distribution.

mod enumerate;
mod expression;
mod problems;
mod rational;

use flowrl_core::random::Stream;
use flowrl_core::task::Judgement;

use crate::error::Result;
pub use enumerate::{enumerate, solutions};
use expression::{Expression, Failure};
pub use problems::{ProblemSpec, Problems};
pub(crate) use rational::Rational;

/// Every character of prompts and answers, for a character-level tokenizer.
pub const ALPHABET: &str = "0123456789 =:+-*/()";

/// A list of numbers, and the target to reach with them.
///
/// ```
/// use flowrl_lm::countdown::Problem;
/// let problem = Problem { numbers: vec![3, 5, 7], target: 22 };
/// assert_eq!(problem.prompt(), "3 5 7 = 22 : ");
/// assert_eq!(Problem::parse(&problem.prompt()).as_ref(), Some(&problem));
/// assert_eq!(problem.judge("3*5+7", true).verdict, "correct");
/// assert_eq!(problem.judge("(3*5)+7", true).verdict, "redundant-parentheses");
/// assert_eq!(problem.judge("3*5+7", false).verdict, "unfinished");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The numbers, in the order of the prompt.
    pub numbers: Vec<u32>,
    /// The value to reach.
    pub target: i64,
}

impl Problem {
    /// Returns the prompt of this problem, `3 5 7 = 22 : `, which includes the space at the end.
    pub fn prompt(&self) -> String {
        let mut prompt: String = self.numbers.iter().map(|n| format!("{n} ")).collect();
        prompt.push_str(&format!("= {} : ", self.target));
        prompt
    }

    /// Parses the last line of a prompt, or returns [`None`] if that line does not have the form of [`Self::prompt`].
    ///
    /// Spaces at either end are ignored, so that the line may stand at the end of a longer text.
    pub fn parse(prompt: &str) -> Option<Self> {
        let line = prompt.trim().lines().last()?;
        let (numbers, target) = line.strip_suffix(':')?.split_once('=')?;
        let numbers: Vec<u32> = numbers.split_whitespace().map(str::parse).collect::<Result<_, _>>().ok()?;
        let target = target.trim().parse().ok()?;
        (!numbers.is_empty()).then_some(Self { numbers, target })
    }

    /// Judges a completion of this problem; `ended` says whether the end token followed it. The reward is 1 for
    /// `correct` and 0 otherwise. An expression is an answer in its canonical form.
    ///
    /// The verdict is the first in this table that applies:
    ///
    /// | verdict | the completion |
    /// |---|---|
    /// | `unfinished` | has no end token |
    /// | `unparseable` | is not an expression of digits, `+ - * /` and parentheses (no spaces, signs, leading zeros) |
    /// | `unknown-number` | uses a number that is not given, or uses one more often than it is given |
    /// | `unused-number` | leaves out a given number |
    /// | `redundant-parentheses` | has parentheses without which the tree is the same, so that each tree has one text |
    /// | `division-by-zero` | has no value |
    /// | `wrong` | has another value, or one whose fractions overflow 128 bits |
    /// | `correct` | has exactly the target as its value |
    pub fn judge(&self, completion: &str, ended: bool) -> Judgement {
        let verdict = if ended { self.verdict(completion) } else { "unfinished" };
        let mut judgement = Judgement::new(f64::from(u8::from(verdict == "correct")), verdict);
        let is_answer = !matches!(verdict, "unfinished" | "unparseable");
        judgement.answer = is_answer.then(|| completion.into());
        judgement
    }

    fn verdict(&self, completion: &str) -> &'static str {
        let Some(expression) = Expression::parse(completion) else { return "unparseable" };
        let mut unused: Vec<u64> = self.numbers.iter().map(|&n| n.into()).collect();
        for number in expression.numbers() {
            match unused.iter().position(|&n| n == number) {
                Some(at) => drop(unused.swap_remove(at)),
                None => return "unknown-number",
            }
        }
        if !unused.is_empty() {
            return "unused-number";
        }
        if expression.print() != completion {
            return "redundant-parentheses";
        }
        match expression.value() {
            Err(Failure::DivisionByZero) => "division-by-zero",
            Ok(value) if value.to_whole() == Some(self.target.into()) => "correct",
            _ => "wrong",
        }
    }

    /// Returns every correct answer to this problem, sorted; see [`enumerate`].
    ///
    /// # Errors
    /// Returns [`Error::Argument`](crate::Error::Argument) if the problem has no numbers or more than four.
    pub fn solutions(&self) -> Result<Vec<String>> {
        enumerate(&self.numbers, self.target)
    }

    /// Draws one of all correct answers to this problem uniformly, as a function of the stream's seed and
    /// (a, b, c). Returns [`None`] if there is no correct answer.
    ///
    /// # Errors
    /// Returns [`Error::Argument`](crate::Error::Argument) if the problem has no numbers or more than four.
    pub fn random_solution(&self, stream: &Stream, a: u32, b: u32, c: u32) -> Result<Option<String>> {
        let mut solutions = self.solutions()?;
        let chosen = stream.below(solutions.len() as u64, a, b, c) as usize;
        Ok((chosen < solutions.len()).then(|| solutions.swap_remove(chosen)))
    }
}

#[cfg(test)]
mod tests;
