//! Evaluation on held-out prompts: by samples, greedily, and exactly if correct completions can be enumerated.

mod sampled;

use flowrl_core::Real;
use flowrl_core::backend::Sampler;
use flowrl_core::exact::BinaryExact;
use flowrl_core::policy::{Model, Policy, RealOf, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_core::task::Task;
use flowrl_core::train::{Rollouts, TrainError, TrainOptions};

use crate::error::{Error, Result};
use crate::task::TextTask;
use sampled::Sampled;
pub use sampled::pass_at_k;

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
    /// Number of completions without a reward. The metrics leave them out, and the means leave out a prompt that has no
    /// others.
    pub left_out: usize,
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
    let Sampled { mut metrics, standard_errors, left_out } = Sampled::of(&rollouts, options.samples)?;
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
    Ok(Evaluation { metrics, standard_errors, rollouts, exact, left_out })
}

/// Decodes one completion of each of the first `prompts` prompts of `task` greedily, at temperature 0, and measures the
/// share that is correct, `eval_success_greedy`. The result does not depend on `options.seed`.
///
/// # Errors
/// Returns an error if the policy fails or a completion cannot be judged.
pub fn evaluate_greedy<P: Policy>(
    policy: &mut P,
    task: &TextTask,
    prompts: usize,
    options: &TrainOptions,
) -> Result<Evaluation<RealOf<P>>, EvaluateError<P::Error>> {
    let prompts = (0..prompts.min(task.prompts())).collect();
    let options = TrainOptions { samples: 1, sampler: Sampler::GREEDY, ..*options };
    let stream = Stream::new(options.seed, Purpose::Evaluate);
    let rollouts = Rollouts::<RealOf<P>>::sample(policy, task, prompts, &options, stream, 0)?;
    let Sampled { metrics, standard_errors, left_out } = Sampled::greedy(&rollouts);
    Ok(Evaluation { metrics, standard_errors, rollouts, exact: Vec::new(), left_out })
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
