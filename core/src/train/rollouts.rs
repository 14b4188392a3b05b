//! Judged completions, from which a step learns.

use alloc::vec::Vec;

use super::{Metrics, Selection, TrainError, TrainOptions};
use crate::Real;
use crate::backend::Backend;
use crate::objective::{self, Objective, RolloutCorrection};
use crate::policy::{Completions, Policy, SampleRequest, Sequences};
use crate::random::Stream;
use crate::task::{Attempt, Judgement, Task};

/// Completions of a few prompts with their rewards, from which one step learns. The completions of one prompt are
/// contiguous.
#[derive(Clone, Debug, Default)]
pub struct Rollouts<T> {
    /// Number of each prompt in its task.
    pub prompt_numbers: Vec<usize>,
    /// Tokens of each prompt.
    pub prompts: Vec<Vec<u32>>,
    /// The completions. Their log-probabilities are those of the policy that sampled them; if `rollout_log_probs` is
    /// given, they were computed by the engine that trains.
    pub completions: Completions<T>,
    /// (B) the task's judgements, with the raw rewards.
    pub judgements: Vec<Judgement>,
    /// (N) log-probability of each token under the engine that sampled it, if that is another one. `rollout_correction`
    /// compares these with those of `completions`.
    pub rollout_log_probs: Option<Vec<T>>,
    /// The prompts to learn from; `None` means all of them.
    pub selection: Option<Selection>,
}

impl<T: Real> Rollouts<T> {
    /// Samples `options.samples` completions of each prompt and lets the task judge them.
    ///
    /// # Errors
    /// Returns an error if the policy fails or a reward is not finite.
    pub fn sample<P: Policy<Backend: Backend<Real = T>>>(
        policy: &mut P,
        task: &(impl Task + ?Sized),
        prompt_numbers: Vec<usize>,
        options: &TrainOptions,
        stream: Stream,
        step: u32,
    ) -> Result<Self, TrainError<P::Error>> {
        let prompts: Vec<Vec<u32>> = prompt_numbers.iter().map(|&i| task.prompt(i).to_vec()).collect();
        let slices: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
        let request = SampleRequest {
            prompts: &slices,
            samples: options.samples,
            max_tokens: options.max_tokens,
            sampler: options.sampler,
            stream,
            step,
        };
        let completions = policy.sample(&request).map_err(TrainError::Policy)?;
        let attempt = |i| Attempt {
            prompt: prompt_numbers[completions.prompt_of[i]],
            completion: completions.get(i),
            ended: completions.ended[i],
        };
        let attempts: Vec<Attempt<'_>> = (0..completions.len()).map(attempt).collect();
        let judgements = task.judge_batch(&attempts).map_err(TrainError::Judge)?;
        if judgements.len() != attempts.len() {
            return Err(TrainError::Judgements { got: judgements.len(), wanted: attempts.len() });
        }
        for (attempt, judgement) in attempts.iter().zip(&judgements) {
            if let Some(got) = judgement.reward.filter(|reward| !reward.is_finite()) {
                return Err(TrainError::Reward { prompt: attempt.prompt, got });
            }
        }
        Ok(Self { prompt_numbers, prompts, completions, judgements, ..Self::default() })
    }

    /// Returns the raw reward of completion `i`, in the precision of training, unless the completion is left out.
    pub fn reward(&self, i: usize) -> Option<T> {
        self.judgements[i].reward.map(T::of)
    }

    /// Returns the number of completions in these rollouts.
    pub fn len(&self) -> usize {
        self.completions.len()
    }

    /// Returns whether there are no completions.
    pub fn is_empty(&self) -> bool {
        self.completions.is_empty()
    }

    /// Appends completion `i` of `other` as one of prompt `p`. Fields that only metrics read may be empty in `other`. If
    /// only these rollouts have log-probabilities of another engine, those of the policy take their place.
    pub(super) fn push(&mut self, p: usize, other: &Self, i: usize) {
        let (out, from) = (&mut self.completions, &other.completions);
        let tokens = from.offsets[i]..from.offsets[i + 1];
        if out.offsets.is_empty() {
            out.offsets.push(0);
        }
        out.prompt_of.push(p);
        out.tokens.extend_from_slice(&from.tokens[tokens.clone()]);
        out.log_probs.extend_from_slice(&from.log_probs[tokens.clone()]);
        out.entropies.extend_from_slice(from.entropies.get(tokens.clone()).unwrap_or_default());
        out.excluded.extend_from_slice(from.excluded.get(tokens.clone()).unwrap_or_default());
        out.offsets.push(out.tokens.len());
        out.ended.push(from.ended[i]);
        let Judgement { reward, verdict, .. } = &other.judgements[i];
        self.judgements.push(Judgement { reward: *reward, verdict: verdict.clone(), ..Judgement::default() });
        if let Some(out) = &mut self.rollout_log_probs {
            out.extend_from_slice(&other.rollout_log_probs.as_ref().unwrap_or(&from.log_probs)[tokens]);
        }
    }

    /// Checks that the fields are consistent, since a caller may fill them in, for example from a file.
    pub(super) fn validate<E>(&self) -> Result<(), TrainError<E>> {
        let Completions { prompt_of, offsets, tokens, log_probs, ended, .. } = &self.completions;
        let count = prompt_of.len();
        let selected = self.selection.iter().flat_map(|selection| &selection.prompts);
        let prompts = prompt_of.iter().chain(selected).max().map_or(0, |p| p + 1);
        for (argument, got, wanted) in [
            ("completions.offsets", offsets.len(), count + 1),
            ("completions.tokens", tokens.len(), offsets.last().copied().unwrap_or(0)),
            ("completions.log_probs", log_probs.len(), tokens.len()),
            ("completions.ended", ended.len(), count),
            ("judgements", self.judgements.len(), count),
            ("rollout_log_probs", self.rollout_log_probs.as_ref().map_or(tokens.len(), Vec::len), tokens.len()),
            ("prompt_numbers", self.prompt_numbers.len(), self.prompts.len()),
        ] {
            if got != wanted {
                return Err(TrainError::Rollouts { argument, got, wanted });
            }
        }
        if self.prompts.len() < prompts {
            return Err(TrainError::Rollouts { argument: "prompts", got: self.prompts.len(), wanted: prompts });
        }
        if let Some(i) = (1..count).find(|&i| prompt_of[i] < prompt_of[i - 1]) {
            return Err(TrainError::Order { completion: i });
        }
        match (1..offsets.len()).find(|&i| offsets[i] < offsets[i - 1]) {
            Some(i) => Err(objective::Error::Offsets { index: i, got: offsets[i], previous: offsets[i - 1] }.into()),
            None if count == 0 => Err(TrainError::NoCompletions),
            None => Ok(()),
        }
    }

    /// Splits the prompts of `range` into parts of at most `prompts` prompts (0 means a single part) and calls `work`
    /// with each part.
    pub(super) fn parts<E>(
        &self,
        range: core::ops::Range<usize>,
        prompts: usize,
        mut work: impl FnMut(Part<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let prompt_of = &self.completions.prompt_of;
        let mut start = range.start;
        while start < range.end {
            let end = if prompts == 0 { range.end } else { (start + prompts).min(range.end) };
            let first = prompt_of.partition_point(|&p| p < start);
            let last = prompt_of.partition_point(|&p| p < end);
            let slices: Vec<&[u32]> = self.prompts[start..end].iter().map(Vec::as_slice).collect();
            let completions: Vec<&[u32]> = (first..last).map(|i| self.completions.get(i)).collect();
            let local: Vec<usize> = prompt_of[first..last].iter().map(|p| p - start).collect();
            let offsets = &self.completions.offsets;
            work(Part {
                first_prompt: start,
                sequences: Sequences { prompts: &slices, completions: &completions, prompt_of: &local },
                completions: first..last,
                tokens: offsets[first]..offsets[last],
            })?;
            start = end;
        }
        Ok(())
    }

    /// Computes the metrics of rewards, lengths and entropies.
    pub(super) fn metrics(&self) -> Metrics {
        let count = self.len().max(1) as f64;
        let mean = |f: &dyn Fn(usize) -> f64| (0..self.len()).map(f).sum::<f64>() / count;
        let judged = self.judgements.iter().filter(|judgement| judgement.reward.is_some()).count();
        let over_judged = |f: &dyn Fn(f64) -> f64| {
            let sum: f64 = (0..self.len()).filter_map(|i| self.reward(i)).map(|reward| f(reward.f64())).sum();
            sum / judged.max(1) as f64
        };
        let reward_mean = over_judged(&|reward| reward);
        let variance = over_judged(&|reward| libm::pow(reward - reward_mean, 2.0));
        let length = |i: usize| self.completions.get(i).len();
        let tokens = self.completions.tokens.len().max(1) as f64;
        let groups = self.groups().count().max(1) as f64;
        let degenerate = self.groups().filter(|(_, degenerate)| *degenerate).count() as f64 / groups;
        let mut metrics = alloc::vec![
            ("reward_mean", reward_mean),
            ("reward_std", libm::sqrt(variance)),
            ("success", over_judged(&|reward| f64::from(u8::from(reward > 0.0)))),
            ("degenerate_groups", degenerate),
            ("length_mean", mean(&|i| length(i) as f64)),
            ("length_max", (0..self.len()).map(length).max().unwrap_or(0) as f64),
            ("truncated_fraction", mean(&|i| f64::from(u8::from(!self.completions.ended[i])))),
        ];
        if judged < self.len() {
            metrics.push(("left_out", (self.len() - judged) as f64));
        }
        if !self.completions.entropies.is_empty() {
            metrics.push(("entropy_mean", self.completions.entropies.iter().map(|h| h.f64()).sum::<f64>() / tokens));
        }
        if !self.completions.excluded.is_empty() {
            metrics.push(("excluded_mass", self.completions.excluded.iter().map(|p| p.f64()).sum::<f64>() / tokens));
        }
        if let Some(selection) = &self.selection {
            metrics.push(("sampled_groups", groups));
            metrics.push(("learned_groups", selection.prompts.len() as f64));
        }
        metrics
    }

    /// Computes how far the engine that sampled is from the one that trains, if the objective corrects for the
    /// difference.
    pub(super) fn rollout_metrics(&self, objective: &Objective) -> Metrics {
        let (Objective::PolicyGradient(options), Some(rollout)) = (objective, &self.rollout_log_probs) else {
            return Metrics::new();
        };
        let log_weight = |t: usize| self.completions.log_probs[t].f64() - rollout[t].f64();
        let sequence = |i: usize| (self.completions.offsets[i]..self.completions.offsets[i + 1]).map(log_weight).sum();
        let log_weights: Vec<f64> = match options.rollout_correction {
            RolloutCorrection::None => return Metrics::new(),
            RolloutCorrection::TokenTruncate | RolloutCorrection::TokenMask => {
                (0..rollout.len()).map(log_weight).collect()
            }
            RolloutCorrection::SequenceTruncate | RolloutCorrection::SequenceMask => {
                (0..self.len()).map(sequence).collect()
            }
        };
        let bounds = options.rollout_min..=options.rollout_max;
        let outside = log_weights.iter().filter(|&&w| !bounds.contains(&libm::exp(w))).count();
        let drift = (0..rollout.len()).map(|t| log_weight(t).abs()).sum::<f64>();
        alloc::vec![
            ("rollout_drift", drift / rollout.len().max(1) as f64),
            ("rollout_clip_fraction", outside as f64 / log_weights.len().max(1) as f64),
        ]
    }
}

/// A part of [`Rollouts`] that holds consecutive prompts.
#[derive(Clone, Debug)]
pub(super) struct Part<'a> {
    pub(super) first_prompt: usize,
    pub(super) sequences: Sequences<'a>,
    pub(super) completions: core::ops::Range<usize>,
    pub(super) tokens: core::ops::Range<usize>,
}
