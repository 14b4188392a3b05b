//! Measures of sampled completions.

use std::collections::{BTreeMap, HashSet};

use flowrl_core::Real;
use flowrl_core::metrics;
use flowrl_core::train::Rollouts;

use crate::error::{Error, Result};

/// Means of sampled values over prompts, and their standard errors.
#[derive(Default)]
pub(super) struct Sampled {
    pub(super) metrics: Vec<(String, f64)>,
    pub(super) standard_errors: Vec<(String, f64)>,
    /// Number of completions without a reward.
    pub(super) left_out: usize,
}

impl Sampled {
    /// Measures the completions of an evaluation with `samples` completions of each prompt.
    pub(super) fn of<T: Real>(rollouts: &Rollouts<T>, samples: usize) -> Result<Self> {
        let groups = Group::all(rollouts);
        let mut found = Self::new(rollouts);
        found.push("eval_success", groups.iter().map(Group::success));
        for metric in metrics::all() {
            let k = metric.name.strip_prefix("eval_pass_at_").and_then(|k| k.parse().ok());
            if let Some(k) = k.filter(|&k| k <= samples) {
                let enough = groups.iter().filter(|group| group.judged >= k);
                let values = enough.map(|group| pass_at_k(group.judged, group.correct, k));
                found.push(metric.name, values.collect::<Result<Vec<_>>>()?);
            }
        }
        // A verifier without a canonical form of answers cannot tell which are equal.
        if groups.iter().any(|group| !group.votes.is_empty()) {
            found.push("eval_majority", groups.iter().map(Group::majority));
        }
        found.push("eval_distinct_correct", groups.iter().map(|group| group.distinct.len() as f64));
        let tokens = rollouts.completions.tokens.len();
        let entropy: f64 = rollouts.completions.entropies.iter().map(|h| h.f64()).sum();
        let all = rollouts.len().max(1) as f64;
        found.metrics.push(("eval_entropy".into(), entropy / tokens.max(1) as f64));
        found.metrics.push(("eval_length_mean".into(), tokens as f64 / all));
        if found.left_out > 0 {
            found.metrics.push(("eval_left_out".into(), found.left_out as f64));
        }
        Ok(found)
    }

    /// Measures greedy completions, one of each prompt.
    pub(super) fn greedy<T: Real>(rollouts: &Rollouts<T>) -> Self {
        let mut found = Self::new(rollouts);
        found.push("eval_success_greedy", Group::all(rollouts).iter().map(Group::success));
        found
    }

    fn new<T: Real>(rollouts: &Rollouts<T>) -> Self {
        let left_out = rollouts.judgements.iter().filter(|judgement| judgement.reward.is_none()).count();
        Self { left_out, ..Self::default() }
    }

    /// Adds the mean of a value over prompts, which is NaN without any.
    fn push(&mut self, name: &str, values: impl IntoIterator<Item = f64>) {
        let values: Vec<f64> = values.into_iter().collect();
        let n = values.len() as f64;
        let mean = if values.is_empty() { f64::NAN } else { values.iter().sum::<f64>() / n };
        self.metrics.push((name.to_owned(), mean));
        if values.len() > 1 {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
            self.standard_errors.push((name.to_owned(), (variance / n).sqrt()));
        }
    }
}

/// A correct answer, of which equal ones count once: its canonical form, or its tokens if the verifier gives no form.
#[derive(PartialEq, Eq, Hash)]
enum Answer<'a> {
    Form(&'a str),
    Tokens(&'a [u32]),
}

/// The judged completions of one prompt.
#[derive(Default)]
struct Group<'a> {
    judged: usize,
    correct: usize,
    distinct: HashSet<Answer<'a>>,
    /// Number of completions and of correct ones with each answer.
    votes: BTreeMap<&'a str, (usize, usize)>,
}

impl<'a> Group<'a> {
    /// Counts the completions of each prompt that has a judged one.
    fn all<T: Real>(rollouts: &'a Rollouts<T>) -> Vec<Self> {
        let mut groups: Vec<Self> = rollouts.prompts.iter().map(|_| Self::default()).collect();
        for (i, judgement) in rollouts.judgements.iter().enumerate().filter(|(_, j)| j.reward.is_some()) {
            let group = &mut groups[rollouts.completions.prompt_of[i]];
            let (form, is_correct) = (judgement.answer.as_deref(), judgement.is_success());
            group.judged += 1;
            if let Some(form) = form {
                let (votes, correct) = group.votes.entry(form).or_default();
                (*votes, *correct) = (*votes + 1, *correct + usize::from(is_correct));
            }
            if is_correct {
                group.correct += 1;
                group.distinct.insert(form.map_or_else(|| Answer::Tokens(rollouts.completions.get(i)), Answer::Form));
            }
        }
        groups.retain(|group| group.judged > 0);
        groups
    }

    fn success(&self) -> f64 {
        self.correct as f64 / self.judged as f64
    }

    /// Returns whether the most frequent answer is correct, as 1 or 0. If several answers are equally frequent, this is
    /// the expected value of a fair draw from them, so that it does not depend on their order. Completions without an
    /// answer have no vote, and without any vote the value is 0.
    fn majority(&self) -> f64 {
        let most = self.votes.values().map(|(votes, _)| *votes).max().unwrap_or(0);
        let first = self.votes.values().filter(|(votes, _)| *votes == most);
        // A judge that is not consistent may call only some of the completions with one answer correct.
        let (count, value) = first.fold((0.0, 0.0), |(count, value), (votes, correct)| {
            (count + 1.0, value + *correct as f64 / *votes as f64)
        });
        if count == 0.0 { 0.0 } else { value / count }
    }
}

/// Estimates pass@k without bias: the probability that at least one of `k` completions is correct, from `n` samples of
/// which `correct` are.
///
/// This is 1 − C(n−c, k) / C(n, k) from Chen et al., *Evaluating large language models trained on code* (2021),
/// computed as the product 1 − Π_{i=n−c+1}^{n} (1 − k/i), in which nothing overflows.
///
/// # Errors
/// Returns [`Error::Argument`] unless 1 ≤ k ≤ n and c ≤ n.
///
/// ```
/// use flowrl_lm::evaluate::pass_at_k;
/// assert_eq!(pass_at_k(4, 1, 2)?, 0.5);
/// assert_eq!(pass_at_k(10, 3, 8)?, 1.0);
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
pub fn pass_at_k(n: usize, correct: usize, k: usize) -> Result<f64> {
    if !(1..=n).contains(&k) {
        return Err(Error::argument("k", k, format!("from 1 to the number of samples, {n}")));
    }
    if correct > n {
        return Err(Error::argument("correct", correct, format!("at most the number of samples, {n}")));
    }
    if n - correct < k {
        return Ok(1.0);
    }
    Ok(1.0 - (n - correct + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>())
}

#[cfg(test)]
mod tests {
    use flowrl_core::policy::Completions;
    use flowrl_core::task::Judgement;

    use super::*;

    /// Returns the fraction of all subsets of k samples that contain a correct one.
    fn by_counting(n: usize, correct: usize, k: usize) -> f64 {
        let subsets = (0_u32..1 << n).filter(|set| set.count_ones() as usize == k);
        let (all, passed) = subsets
            .fold((0, 0), |(all, passed), set| (all + 1, passed + u32::from(set.trailing_zeros() < correct as u32)));
        f64::from(passed) / f64::from(all)
    }

    #[test]
    fn agrees_with_counting_subsets() {
        for n in 1..=10 {
            for correct in 0..=n {
                for k in 1..=n {
                    let (got, wanted) = (pass_at_k(n, correct, k).unwrap(), by_counting(n, correct, k));
                    assert!((got - wanted).abs() < 1e-12, "{n} {correct} {k}: {got} {wanted}");
                }
            }
        }
    }

    #[test]
    fn pass_at_128_agrees_with_counting_the_samples_left_out() {
        // Of 130 samples, 128 are drawn by leaving out two: the draw fails if these are all the correct ones.
        let pairs = || (0..130).flat_map(|a| (a + 1..130).map(move |b| (a, b)));
        for correct in 0..=3 {
            let failed = pairs().filter(|&(a, b)| (0..correct).all(|i| i == a || i == b)).count();
            let wanted = 1.0 - failed as f64 / pairs().count() as f64;
            let got = pass_at_k(130, correct, 128).unwrap();
            assert!((got - wanted).abs() < 1e-12, "{correct}: {got} {wanted}");
        }
        assert!((pass_at_k(256, 1, 128).unwrap() - 0.5).abs() < 1e-12, "a draw of half of the samples");
    }

    /// One completion: its answer, if the verifier gives one, and its reward, if it has one.
    type Row = (Option<&'static str>, Option<f64>);

    /// Returns rollouts with these completions of each prompt. Completion `i` of a prompt is the token `i / 2`.
    fn rollouts(prompts: &[&[Row]]) -> Rollouts<f32> {
        let mut found = Rollouts { prompts: vec![vec![0]; prompts.len()], ..Rollouts::default() };
        found.completions.offsets.push(0);
        for (p, rows) in prompts.iter().enumerate() {
            for (i, (answer, reward)) in rows.iter().enumerate() {
                let mut judgement = Judgement::without_reward("word");
                (judgement.reward, judgement.answer) = (*reward, answer.map(Into::into));
                found.judgements.push(judgement);
                let Completions { prompt_of, tokens, offsets, .. } = &mut found.completions;
                prompt_of.push(p);
                tokens.push(i as u32 / 2);
                offsets.push(tokens.len());
            }
        }
        found
    }

    fn measured(prompts: &[&[Row]]) -> (BTreeMap<String, f64>, BTreeMap<String, f64>) {
        let samples = prompts.iter().map(|rows| rows.len()).max().unwrap_or(0);
        let found = Sampled::of(&rollouts(prompts), samples).unwrap();
        (found.metrics.into_iter().collect(), found.standard_errors.into_iter().collect())
    }

    const RIGHT: Option<f64> = Some(1.0);
    const WRONG: Option<f64> = Some(0.0);

    #[test]
    fn the_most_frequent_answer_decides_and_ties_count_by_their_share() {
        let (a, b, c) = (Some("a"), Some("b"), Some("c"));
        for (rows, wanted) in [
            (&[(a, RIGHT), (a, RIGHT), (b, WRONG)][..], 1.0),
            (&[(a, RIGHT), (b, WRONG), (b, WRONG)], 0.0),
            (&[(a, RIGHT), (b, WRONG)], 0.5),
            (&[(b, WRONG), (a, RIGHT)], 0.5),
            (&[(a, RIGHT), (b, WRONG), (c, RIGHT)], 2.0 / 3.0),
            (&[(a, RIGHT), (a, RIGHT), (b, WRONG), (b, WRONG), (c, RIGHT)], 0.5),
            // A completion without an answer has no vote, and one without a reward has none either.
            (&[(None, WRONG), (None, WRONG), (a, RIGHT)], 1.0),
            (&[(b, None), (b, None), (a, RIGHT)], 1.0),
            // A judge that contradicts itself.
            (&[(a, RIGHT), (a, WRONG), (b, WRONG)], 0.5),
        ] {
            let got = measured(&[rows]).0["eval_majority"];
            assert!((got - wanted).abs() < 1e-15, "{rows:?}: {got} {wanted}");
        }
        // A prompt without any vote counts as unsolved; without one in the whole evaluation there is no majority.
        assert_eq!(measured(&[&[(a, RIGHT)], &[(None, WRONG)]]).0["eval_majority"], 0.5);
        assert_eq!(measured(&[&[(None, RIGHT)], &[(None, WRONG)]]).0.get("eval_majority"), None);
    }

    #[test]
    fn a_majority_is_the_mean_over_all_orders_of_its_first_winner() {
        // Every assignment of five completions to three answers, of which the first is correct. In a random order of the
        // answers, the first of the most frequent ones wins.
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        for code in 0..3_usize.pow(5) {
            let answers: Vec<usize> = (0..5).map(|i| code / 3_usize.pow(i) % 3).collect();
            let count = |answer| answers.iter().filter(|a| **a == answer).count();
            let won = orders.iter().filter(|order| {
                let best = order.iter().map(|a| count(*a)).max();
                order.iter().find(|a| Some(count(**a)) == best) == Some(&0)
            });
            let wanted = won.count() as f64 / 6.0;
            let row = |a: &usize| (Some(["a", "b", "c"][*a]), if *a == 0 { RIGHT } else { WRONG });
            let rows: Vec<Row> = answers.iter().map(row).collect();
            let got = measured(&[&rows]).0["eval_majority"];
            assert!((got - wanted).abs() < 1e-15, "{answers:?}: {got} {wanted}");
        }
    }

    #[test]
    fn what_has_no_reward_is_left_out() {
        let (metrics, errors) = measured(&[
            &[(None, RIGHT), (None, WRONG), (None, WRONG), (None, WRONG)],
            &[(None, RIGHT), (None, None), (None, None), (None, WRONG)],
            &[(None, None), (None, None), (None, None), (None, None)],
        ]);
        assert_eq!((metrics["eval_success"], metrics["eval_left_out"]), (0.375, 6.0));
        // The mean of 1 − C(3, 2)/C(4, 2) and 1; only the first prompt has four judged completions.
        assert_eq!((metrics["eval_pass_at_2"], metrics["eval_pass_at_4"]), (0.75, 1.0));
        assert_eq!((metrics["eval_distinct_correct"], metrics.get("eval_pass_at_8")), (1.0, None));
        // √(s²/2) of 1/4 and 1/2, and of 1/2 and 1; one prompt has no standard error.
        assert_eq!((errors["eval_success"], errors["eval_pass_at_2"]), (0.125, 0.25));
        assert_eq!(errors.get("eval_pass_at_4"), None);
        let (metrics, errors) = measured(&[&[(None, None)]]);
        assert!(metrics["eval_success"].is_nan() && metrics["eval_pass_at_1"].is_nan() && errors.is_empty());
        assert_eq!(measured(&[&[(None, RIGHT)]]).0.get("eval_left_out"), None);
    }

    #[test]
    fn equal_answers_count_once() {
        let (a, b) = (Some("a"), Some("b"));
        let distinct = |rows: &[Row]| measured(&[rows]).0["eval_distinct_correct"];
        // The tokens differ from every second completion to the next.
        assert_eq!(distinct(&[(None, RIGHT), (None, RIGHT), (None, RIGHT), (None, WRONG)]), 2.0);
        assert_eq!(distinct(&[(a, RIGHT), (a, RIGHT), (a, RIGHT), (b, WRONG)]), 1.0);
        assert_eq!(distinct(&[(a, RIGHT), (b, RIGHT)]), 2.0);
    }

    #[test]
    fn a_greedy_completion_is_one_of_its_prompt() {
        let found = Sampled::greedy(&rollouts(&[&[(None, RIGHT)], &[(None, WRONG)], &[(None, None)]]));
        assert_eq!(found.metrics, [("eval_success_greedy".to_owned(), 0.5)]);
        assert_eq!((found.standard_errors[0].1, found.left_out), (0.5, 1));
    }

    #[test]
    fn large_numbers_stay_finite() {
        let got = pass_at_k(100_000, 10, 1000).unwrap();
        assert!((got - 0.09562).abs() < 1e-4, "{got}");
    }

    #[test]
    fn impossible_arguments_are_errors() {
        assert!(pass_at_k(5, 1, 0).is_err());
        assert!(pass_at_k(5, 1, 6).is_err());
        assert!(pass_at_k(5, 6, 1).is_err());
        assert!(pass_at_k(0, 0, 0).is_err());
    }
}
