//! Measures a policy on one set of prompts.

use flowrl_core::policy::{Policy, RealOf};
use flowrl_core::train::TrainOptions;
use flowrl_lm::evaluate::{EvaluateError, Evaluation, evaluate, evaluate_greedy};

use crate::session::HeldOut;
use crate::warn;

/// The metric that counts completions without a reward.
const LEFT_OUT: &str = "eval_left_out";

/// The measures of one set of prompts.
#[derive(Debug)]
pub(crate) struct Measured<T> {
    /// The samples and the measures. If completions were decoded greedily too, their measures are among these.
    pub(crate) sampled: Evaluation<T>,
    /// The greedy completions.
    pub(crate) greedy: Option<Evaluation<T>>,
}

/// Measures `policy` on the first `prompts` prompts of a set: by `options.samples` samples of each and, if `greedy`, by
/// one greedy completion of each.
pub(crate) fn measure<P: Policy>(
    policy: &mut P,
    set: &HeldOut,
    prompts: usize,
    options: &TrainOptions,
    beta: Option<f64>,
    greedy: bool,
) -> Result<Measured<RealOf<P>>, EvaluateError<P::Error>> {
    let mut sampled = evaluate(policy, &set.task, prompts, options, beta, true)?;
    let greedy = if greedy { Some(evaluate_greedy(policy, &set.task, prompts, options)?) } else { None };
    if let Some(greedy) = &greedy {
        sampled.metrics.splice(1..1, greedy.metrics.iter().cloned());
        sampled.standard_errors.extend(greedy.standard_errors.iter().cloned());
        if greedy.left_out > 0 {
            let count = (LEFT_OUT.to_owned(), (sampled.left_out + greedy.left_out) as f64);
            sampled.metrics.retain(|(name, _)| name != LEFT_OUT);
            sampled.metrics.push(count);
        }
    }
    Ok(Measured { sampled, greedy })
}

impl<T> Measured<T> {
    /// Returns the number of completions without a reward, and of all completions.
    fn left_out(&self) -> (usize, usize) {
        let parts = std::iter::once(&self.sampled).chain(&self.greedy);
        parts.fold((0, 0), |(some, all), part| (some + part.left_out, all + part.rollouts.judgements.len()))
    }

    /// Warns of completions that have no reward, and returns whether there were some.
    pub(crate) fn warn_of_left_out(&self) -> bool {
        let (some, all) = self.left_out();
        if some > 0 {
            warn!(
                "{some} of {all} completions of an evaluation got no reward and are left out of its measures; eval_left_out counts them, \
                 and the verdicts say why"
            );
        }
        some > 0
    }
}
