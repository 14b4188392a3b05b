//! Several verifiers whose weighted rewards add up.

use flowrl_core::task::{JudgeError, Judgement};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::verify::{Attempt, Verifier};

use crate::measured::merge;

/// One of [`Several`] verifiers.
#[derive(Debug)]
pub struct Part {
    /// Name under which its reward is recorded.
    pub name: String,
    /// Factor of its reward in the sum.
    pub weight: f64,
    /// The verifier.
    pub verifier: Box<dyn Verifier>,
}

/// Verifiers whose rewards, times their weights, add up. The verdict and the answer are those of the part of the largest
/// weight, and the reward of every part is recorded. A completion that a part leaves out is left out.
#[derive(Debug)]
pub struct Several {
    name: String,
    parts: Vec<Part>,
    /// The part of the largest weight.
    main: usize,
}

impl Several {
    /// Creates a verifier from its parts.
    ///
    /// # Errors
    /// Returns an error if there is no part or two have the same name.
    pub fn new(parts: Vec<Part>) -> Result<Self, JudgeError> {
        for (i, part) in parts.iter().enumerate() {
            if parts[..i].iter().any(|other| other.name == part.name) {
                return Err(format!(
                    "two verifiers are named {}: give one of them another name, `,name=NAME`",
                    part.name
                )
                .into());
            }
        }
        let main = parts.iter().enumerate().rev().max_by(|(_, a), (_, b)| a.weight.abs().total_cmp(&b.weight.abs()));
        let main = main.map(|(i, _)| i).ok_or("no verifier is named")?;
        let name = parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join("+");
        Ok(Self { name, parts, main })
    }

    fn sum(&self, judgements: Vec<Judgement>) -> Judgement {
        let mut all = Vec::new();
        let mut sum = 0.0;
        let mut left_out = None;
        for (part, judgement) in self.parts.iter().zip(&judgements) {
            match judgement.reward {
                Some(reward) => {
                    sum += part.weight * reward;
                    all.push((part.name.clone().into(), reward));
                }
                None => left_out = left_out.or(Some(judgement.verdict.clone())),
            }
        }
        let main = &judgements[self.main];
        let mut judgement = match left_out {
            None => Judgement::new(sum, main.verdict.clone()),
            Some(verdict) => Judgement::without_reward(verdict),
        };
        judgement.parts = all;
        judgement.answer.clone_from(&main.answer);
        judgement.log.clone_from(&main.log);
        judgement
    }
}

impl Verifier for Several {
    fn name(&self) -> &str {
        &self.name
    }

    fn check(&self, row: &PromptRow) -> flowrl_lm::Result<()> {
        self.parts.iter().try_for_each(|part| part.verifier.check(row))
    }

    fn judge(&self, attempt: Attempt<'_>) -> Result<Judgement, JudgeError> {
        let judgements = self.parts.iter().map(|part| part.verifier.judge(attempt)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.sum(judgements))
    }

    fn judge_batch(&self, attempts: &[Attempt<'_>]) -> Result<Vec<Judgement>, JudgeError> {
        let mut of_parts = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let judgements = part.verifier.judge_batch(attempts)?;
            if judgements.len() != attempts.len() {
                let (name, got, wanted) = (&part.name, judgements.len(), attempts.len());
                return Err(format!("the verifier {name} returned {got} judgements of {wanted} completions").into());
            }
            of_parts.push(judgements.into_iter());
        }
        Ok((0..attempts.len()).map(|_| self.sum(of_parts.iter_mut().filter_map(Iterator::next).collect())).collect())
    }

    fn take_metrics(&self) -> Vec<(&'static str, f64)> {
        let mut all = Vec::new();
        self.parts.iter().for_each(|part| merge(&mut all, part.verifier.take_metrics()));
        all
    }
}

#[cfg(test)]
mod tests {
    use flowrl_lm::verify;

    use super::*;

    fn part(name: &str, verifier: &str, weight: f64) -> Part {
        Part { name: name.into(), weight, verifier: verify::by_name(verifier).unwrap() }
    }

    #[test]
    fn rewards_add_up_and_are_recorded() {
        let several = Several::new(vec![part("form", "exact", 0.25), part("value", "number", 2.0)]).unwrap();
        assert_eq!(several.name(), "form+value");
        let row = PromptRow { answer: "3".into(), ..PromptRow::text("q") };
        for (completion, reward, parts, verdict) in [
            ("3", 2.25, [1.0, 1.0], "correct"),
            ("It is 3.", 2.0, [0.0, 1.0], "correct"),
            ("4", 0.0, [0.0, 0.0], "wrong"),
        ] {
            let attempt = Attempt { row: &row, completion, ended: true, tokens: 1 };
            let judgement = several.judge(attempt).unwrap();
            assert_eq!((judgement.reward, &*judgement.verdict), (Some(reward), verdict));
            assert_eq!(judgement.parts, [("form".into(), parts[0]), ("value".into(), parts[1])]);
            assert_eq!(several.judge_batch(&[attempt, attempt]).unwrap(), [judgement.clone(), judgement]);
        }
        assert!(several.check(&PromptRow::text("no answer")).is_err());
    }

    #[test]
    fn what_a_part_leaves_out_is_left_out() {
        let several = Several::new(vec![part("a", "exact", 1.0), part("b", "exact", 1.0)]).unwrap();
        let sum = several.sum(vec![Judgement::new(1.0, "correct"), Judgement::without_reward("timeout")]);
        assert_eq!((sum.reward, &*sum.verdict, sum.parts.len()), (None, "timeout", 1));
    }

    #[test]
    fn names_are_unlike() {
        let error = Several::new(vec![part("a", "exact", 1.0), part("a", "number", 1.0)]).unwrap_err();
        assert!(error.to_string().contains("two verifiers are named a"));
    }
}
