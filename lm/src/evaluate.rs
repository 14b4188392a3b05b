//! Evaluation on held-out prompts: by samples, and exactly if correct completions can be enumerated.

use std::collections::HashSet;

use flowrl_core::Real;
use flowrl_core::exact::BinaryExact;
use flowrl_core::metrics;
use flowrl_core::policy::{Model, Policy, RealOf, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::task::Task;
use flowrl_core::train::{Rollouts, TrainError, TrainOptions};

use crate::error::{Error, Result};
use crate::task::TextTask;

/// An error of an evaluation.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError<E: core::error::Error + 'static> {
    /// Sampling, judging or scoring failed.
    #[error(transparent)]
    Train(#[from] TrainError<E>),
    /// The task could not enumerate or encode its solutions.
    #[error(transparent)]
    Task(#[from] Error),
    /// The exact measures could not be computed.
    #[error(transparent)]
    Exact(#[from] flowrl_core::exact::Error),
}

/// The result of an evaluation.
#[derive(Clone, Debug)]
pub struct Evaluation<T> {
    /// Metrics by name: `eval_success`, `eval_pass_at_8`, …; [`flowrl_core::metrics`] describes them.
    pub metrics: Vec<(String, f64)>,
    /// Standard errors of the metrics that are means over prompts: √(s²/n), with the sample variance s² of the
    /// values of the n prompts. Empty for a single prompt.
    pub standard_errors: Vec<(String, f64)>,
    /// The completions, prompt by prompt.
    pub rollouts: Rollouts<T>,
    /// Index and exact measures of each prompt whose correct completions were enumerated.
    pub exact: Vec<(usize, BinaryExact)>,
}

/// Samples `options.samples` completions of each of the first `prompts` prompts of `task` and measures them.
/// With `with_reference`, also scores all correct completions under the policy and its reference if the task
/// can enumerate them; `beta` is the inverse temperature of the target π_ref·exp(βr)/Z, if the objective has one.
///
/// The draws depend only on `options.seed`, so evaluations of one run are paired.
///
/// # Errors
/// Returns an error if the policy fails or a completion cannot be encoded.
pub fn evaluate<P: Policy>(
    policy: &mut P,
    task: &TextTask,
    prompts: usize,
    options: &TrainOptions,
    beta: Option<f64>,
    with_reference: bool,
) -> Result<Evaluation<RealOf<P>>, EvaluateError<P::Error>> {
    let count = prompts.min(task.prompts());
    let stream = Stream::new(options.seed, Purpose::Evaluate);
    let rollouts = Rollouts::<RealOf<P>>::sample(policy, task, (0..count).collect(), options, stream, 0)?;
    let Sampled { mut metrics, standard_errors } = sampled_metrics(&rollouts, options.samples)?;
    metrics.push(("eval_prompts".into(), count as f64));
    metrics.push(("eval_samples".into(), options.samples as f64));
    // A completion that a stop string ends has no end token, so the enumerated completions would differ from
    // the sampled ones.
    let with_reference = with_reference && !task.text().has_stop();
    let solved = if with_reference { solved(task, count)? } else { Vec::new() };
    let exact = exact(policy, task, &solved, options, beta)?;
    if !exact.is_empty() {
        let mean = |f: &dyn Fn(&BinaryExact) -> f64| exact.iter().map(|(_, e)| f(e)).sum::<f64>() / exact.len() as f64;
        let solutions: usize = solved.iter().map(|(_, completions)| completions.len()).sum();
        metrics.push(("eval_solutions".into(), solutions as f64 / exact.len() as f64));
        metrics.push(("eval_success_exact".into(), mean(&|e| e.success)));
        if beta.is_some() {
            metrics.push(("eval_success_target".into(), mean(&|e| e.target_success)));
        }
        metrics.push(("eval_success_ref".into(), mean(&|e| e.ref_success)));
        metrics.push(("eval_kl_on_correct".into(), mean(&|e| e.kl_on_correct)));
    }
    Ok(Evaluation { metrics, standard_errors, rollouts, exact })
}

/// Means of sampled values over prompts, and their standard errors.
#[derive(Default)]
struct Sampled {
    metrics: Vec<(String, f64)>,
    standard_errors: Vec<(String, f64)>,
}

impl Sampled {
    /// Adds the mean of a value over prompts.
    fn push(&mut self, name: &str, values: &[f64]) {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        self.metrics.push((name.to_owned(), mean));
        if values.len() > 1 {
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
            self.standard_errors.push((name.to_owned(), (variance / n).sqrt()));
        }
    }
}

fn sampled_metrics<T: Real>(rollouts: &Rollouts<T>, samples: usize) -> Result<Sampled, Error> {
    let prompts = rollouts.prompts.len();
    let mut correct = vec![0; prompts];
    let mut distinct = vec![HashSet::new(); prompts];
    for i in 0..rollouts.len() {
        if rollouts.judgements[i].is_success() {
            let prompt = rollouts.completions.prompt_of[i];
            correct[prompt] += 1;
            distinct[prompt].insert(rollouts.completions.get(i));
        }
    }
    let mut found = Sampled::default();
    let share = |&correct: &usize| correct as f64 / samples.max(1) as f64;
    found.push("eval_success", &correct.iter().map(share).collect::<Vec<_>>());
    for metric in metrics::all() {
        let k = metric.name.strip_prefix("eval_pass_at_").and_then(|k| k.parse().ok());
        if let Some(k) = k.filter(|&k| k <= samples) {
            let values = correct.iter().map(|&c| pass_at_k(samples, c, k)).collect::<Result<Vec<_>, _>>()?;
            found.push(metric.name, &values);
        }
    }
    found.push("eval_distinct_correct", &distinct.iter().map(|set| set.len() as f64).collect::<Vec<_>>());
    let tokens = rollouts.completions.tokens.len();
    let entropy: f64 = rollouts.completions.entropies.iter().map(|h| h.f64()).sum();
    let all = rollouts.len().max(1) as f64;
    found.metrics.push(("eval_entropy".into(), entropy / tokens.max(1) as f64));
    found.metrics.push(("eval_length_mean".into(), tokens as f64 / all));
    Ok(found)
}

/// Returns the index of each prompt whose correct completions can be enumerated, and their tokens.
fn solved(task: &TextTask, count: usize) -> Result<Vec<(usize, Vec<Vec<u32>>)>> {
    let mut solved = Vec::new();
    for index in 0..count {
        let Some(problem) = task.problem(index) else { continue };
        let solutions = problem.solutions()?;
        let encoded: Vec<_> =
            solutions.iter().map(|s| task.text().encode_completion(s, true)).collect::<Result<_>>()?;
        if !encoded.is_empty() {
            solved.push((index, encoded));
        }
    }
    Ok(solved)
}

/// Scores every correct completion of the prompts in `solved`.
fn exact<P: Policy>(
    policy: &mut P,
    task: &TextTask,
    solved: &[(usize, Vec<Vec<u32>>)],
    options: &TrainOptions,
    beta: Option<f64>,
) -> Result<Vec<(usize, BinaryExact)>, EvaluateError<P::Error>> {
    /// Prompts scored at once.
    const BATCH: usize = 32;
    let mut out = Vec::with_capacity(solved.len());
    let temperature = options.sampler.temperature;
    for batch in solved.chunks(BATCH) {
        let prompts: Vec<&[u32]> = batch.iter().map(|(index, _)| task.prompt(*index)).collect();
        let completions: Vec<&[u32]> = batch.iter().flat_map(|(_, c)| c.iter().map(Vec::as_slice)).collect();
        let prompt_of: Vec<usize> =
            batch.iter().enumerate().flat_map(|(i, (_, c))| std::iter::repeat_n(i, c.len())).collect();
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of: &prompt_of };
        let mut totals = |model| -> Result<Vec<f64>, EvaluateError<P::Error>> {
            let scores = policy.score(&sequences, model, temperature).map_err(TrainError::Policy)?;
            let mut rest = scores.log_probs.as_slice();
            let mut sums = Vec::with_capacity(completions.len());
            for completion in &completions {
                let (mine, others) = rest.split_at(completion.len());
                sums.push(mine.iter().map(|l| l.f64()).sum());
                rest = others;
            }
            Ok(sums)
        };
        let (reference, current) = (totals(Model::Reference)?, totals(Model::Policy)?);
        let mut start = 0;
        for (index, completions) in batch {
            let range = start..start + completions.len();
            start = range.end;
            let exact = BinaryExact::new(&reference[range.clone()], &current[range], beta.unwrap_or(0.0))?;
            out.push((*index, exact));
        }
    }
    Ok(out)
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
