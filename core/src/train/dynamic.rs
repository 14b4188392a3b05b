//! Dynamic sampling: samples batches of prompts until a step has enough groups whose rewards differ.
//!
//! The method is DAPO's (Yu and others, arXiv 2503.14476), with a bound on the number of batches as in verl.

use alloc::vec::Vec;

use super::{Rollouts, TrainError, Trainer};
use crate::Real;
use crate::backend::Backend;
use crate::policy::{Policy, RealOf};
use crate::random::{Purpose, Stream};
use crate::task::Task;

/// The completions of a step that dynamic sampling kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Number of batches of prompts that were sampled, at least one.
    pub batches: u64,
    /// The prompts to learn from, as indices into [`Rollouts::prompts`], in order.
    pub prompts: Vec<usize>,
}

impl<B: Backend> Trainer<B> {
    /// Samples and judges the completions of the next step: one batch of prompts, or more of them with
    /// `dynamic_sampling`.
    ///
    /// Every batch has its own number ([`Progress::batches`](super::Progress::batches)), which determines its prompts
    /// and random numbers. No two batches of a run share a number.
    ///
    /// # Errors
    /// Returns an error if the task has no prompts, the policy fails, or a reward is not finite.
    pub fn collect<P: Policy<Backend = B>>(
        &self,
        policy: &mut P,
        task: &(impl Task + ?Sized),
    ) -> Result<Rollouts<RealOf<P>>, TrainError<P::Error>> {
        if task.prompts() == 0 {
            return Err(TrainError::NoPrompts);
        }
        let (first, extra) = (self.progress.batches(), self.options.dynamic_sampling as u64);
        let mut rollouts = self.sample_batch(policy, task, first)?;
        if extra == 0 {
            return Ok(rollouts);
        }
        let (mut prompts, mut batches) = (rollouts.telling(), 1);
        while prompts.len() < self.options.prompts && batches <= extra {
            let batch = self.sample_batch(policy, task, first + batches)?;
            prompts.extend(batch.telling().iter().map(|prompt| rollouts.prompts.len() + prompt));
            rollouts.append(batch);
            batches += 1;
        }
        prompts.truncate(self.options.prompts);
        rollouts.selection = Some(Selection { batches, prompts });
        Ok(rollouts)
    }

    fn sample_batch<P: Policy<Backend = B>>(
        &self,
        policy: &mut P,
        task: &(impl Task + ?Sized),
        batch: u64,
    ) -> Result<Rollouts<RealOf<P>>, TrainError<P::Error>> {
        let stream = Stream::new(self.options.seed, Purpose::Sample);
        let prompts = self.prompts_of(batch, task.prompts());
        Rollouts::<RealOf<P>>::sample(policy, task, prompts, &self.options, stream, batch as u32)
    }
}

impl<T: Real> Rollouts<T> {
    /// Iterates over the groups in order, as the prompt of each and whether all its raw rewards are equal. Completions
    /// that are left out do not count.
    pub(super) fn groups(&self) -> impl Iterator<Item = (usize, bool)> {
        let mut start = 0;
        self.completions.prompt_of.chunk_by(|a, b| a == b).map(move |group| {
            let mut rewards = (start..start + group.len()).filter_map(|i| self.reward(i));
            start += group.len();
            let first = rewards.next();
            (group[0], rewards.all(|reward| Some(reward) == first))
        })
    }

    /// Returns the prompts of these rollouts whose completions differ in reward.
    fn telling(&self) -> Vec<usize> {
        self.groups().filter(|(_, degenerate)| !degenerate).map(|(prompt, _)| prompt).collect()
    }

    /// Appends another batch of sampled completions.
    fn append(&mut self, other: Self) {
        let before = self.prompts.len();
        for i in 0..other.len() {
            self.push(before + other.completions.prompt_of[i], &other, i);
        }
        self.prompt_numbers.extend(other.prompt_numbers);
        self.prompts.extend(other.prompts);
    }

    /// Returns the rollouts to learn from, unless these are all of them: the selected prompts in order, without the
    /// completions that have no reward.
    pub(super) fn to_learn(&self) -> Option<Self> {
        let all_judged = self.judgements.iter().all(|judgement| judgement.reward.is_some());
        match &self.selection {
            Some(selection) => Some(self.select(&selection.prompts)),
            None if all_judged => None,
            None => Some(self.select(&(0..self.prompts.len()).collect::<Vec<_>>())),
        }
    }

    fn select(&self, prompts: &[usize]) -> Self {
        let rollout_log_probs = self.rollout_log_probs.as_ref().map(|_| Vec::new());
        let mut chosen = Self { rollout_log_probs, ..Self::default() };
        let prompt_of = &self.completions.prompt_of;
        for &prompt in prompts {
            let group = prompt_of.partition_point(|&q| q < prompt)..prompt_of.partition_point(|&q| q <= prompt);
            let judged: Vec<usize> = group.filter(|&i| self.judgements[i].reward.is_some()).collect();
            if judged.is_empty() {
                continue;
            }
            let p = chosen.prompts.len();
            chosen.prompt_numbers.extend(self.prompt_numbers.get(prompt));
            chosen.prompts.push(self.prompts[prompt].clone());
            for i in judged {
                chosen.push(p, self, i);
            }
        }
        chosen
    }
}
