//! Phase one: turns the raw rewards of the whole batch into r̂ or A.

use super::batch::{check_finite, check_len, check_offsets};
use super::terms::{runs, sort_by_group};
use super::{Advantage, Error, Mask, Objective};
use crate::Real;

/// B judged completions, from which advantages are computed. An objective that needs only some of these fields takes
/// `Outcomes { rewards: &r, groups: &g, ..Outcomes::default() }`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Outcomes<'a, T> {
    /// (B) the raw rewards.
    pub rewards: &'a [T],
    /// (B) number of the prompt that each sequence answers. Groups may be interleaved.
    pub groups: &'a [usize],
    /// (B) V(x) of each sequence's prompt, if the objective [needs it](Objective::needs_value).
    pub values: Option<&'a [T]>,
    /// (B) whether each completion was cut at the length limit. `None` means that none was.
    pub truncated: Option<&'a [bool]>,
    /// (B + 1) token offsets, as in [`Batch`](super::Batch). Needed by advantages that count tokens, and whenever
    /// log-probabilities are given.
    pub offsets: Option<&'a [usize]>,
    /// (N) log π_ref(y_t | x, y_<t). Needed if a KL term is subtracted from raw rewards.
    pub ref_log_probs: Option<&'a [T]>,
    /// (N) log-probabilities under the policy that sampled. Needed if a KL term is subtracted from raw rewards.
    pub old_log_probs: Option<&'a [T]>,
}

impl Objective {
    /// Computes the shaped rewards of the **whole** batch, which the loss uses instead of raw rewards: r̂ for FlowRL,
    /// the advantage A for a policy gradient.
    ///
    /// `advantages`, `masks` and the scratch space `order` have one element per sequence. This also fills `masks`,
    /// which are then passed on as [`Batch::masks`](super::Batch::masks).
    ///
    /// # Errors
    /// Returns an error if a length differs, an input is missing or not finite, an option is out of range, or a result
    /// does not fit into `T`.
    pub fn advantages<T: Real>(
        &self,
        outcomes: &Outcomes<'_, T>,
        order: &mut [usize],
        advantages: &mut [T],
        masks: &mut [Mask],
    ) -> Result<(), Error> {
        self.check_outcomes(outcomes, order, advantages, masks)?;
        let &Outcomes { rewards, groups, .. } = outcomes;
        sort_by_group(groups, order);
        self.mask(outcomes, order, masks);
        advantages.copy_from_slice(rewards);
        let (advantage, ddof, eps) = match self {
            Self::FlowRl(o) => (o.reward.advantage(), o.reward_ddof, o.reward_eps),
            Self::PolicyGradient(o) => {
                if o.takes_kl_off_rewards() {
                    take_kl_off(o.kl, outcomes, masks, advantages);
                }
                (o.advantage, o.reward_ddof, o.reward_eps)
            }
        };
        match advantage {
            Advantage::Raw => {}
            Advantage::Group => {
                by_group(groups, order, advantages, &|r, group| group.normalise(r, group.std(ddof) + eps))
            }
            Advantage::Center => by_group(groups, order, advantages, &|r, group| group.normalise(r, 1.0)),
            Advantage::LeaveOneOut => {
                let others = |group: &Statistics| (group.count - 1.0) / group.count;
                by_group(groups, order, advantages, &|r, group| group.normalise(r, others(group)));
            }
            Advantage::Mean => {
                let relative =
                    |r, group: &Statistics| if group.mean > 0.0 { group.normalise(r, group.mean + eps) } else { 0.0 };
                by_group(groups, order, advantages, &relative);
                // A group of one has no other reward to compare with: its reward is its own mean.
                runs(groups, order).filter(|group| group.len() == 1).for_each(|group| advantages[group[0]] = T::zero());
            }
            Advantage::GroupBatch => {
                let scale = Statistics::of(rewards.len(), &|i| (rewards[i].f64(), 1.0)).std(ddof) + eps;
                by_group(groups, order, advantages, &|r, group| group.normalise(r, scale));
            }
            Advantage::Batch => whole(advantages, &|_| 1.0, &|batch| batch.std(ddof) + eps),
            Advantage::BatchCenter => whole(advantages, &|_| 1.0, &|_| 1.0),
            Advantage::Token | Advantage::CenterToken => {
                if advantage == Advantage::CenterToken {
                    by_group(groups, order, advantages, &|r, group| group.normalise(r, 1.0));
                }
                let offsets = outcomes.offsets.unwrap_or_default();
                let length = |i: usize| (offsets[i + 1] - offsets[i]) as f64;
                whole(advantages, &length, &|batch| Real::sqrt(batch.variance(ddof) + eps));
            }
            Advantage::Value => {
                for (advantage, value) in advantages.iter_mut().zip(outcomes.values.unwrap_or_default()) {
                    *advantage = T::of(advantage.f64() - value.f64());
                }
            }
        }
        match advantages.iter().position(|a| !a.is_finite()) {
            None => Ok(()),
            Some(sequence) => Err(Error::Overflow { quantity: "advantage", sequence }),
        }
    }

    fn check_outcomes<T: Real>(
        &self,
        outcomes: &Outcomes<'_, T>,
        order: &[usize],
        advantages: &[T],
        masks: &[Mask],
    ) -> Result<(), Error> {
        self.validate()?;
        let sequences = outcomes.groups.len();
        check_len("rewards", outcomes.rewards.len(), sequences, "sequences")?;
        check_len("order", order.len(), sequences, "sequences")?;
        check_len("advantages", advantages.len(), sequences, "sequences")?;
        check_len("masks", masks.len(), sequences, "sequences")?;
        check_finite("rewards", outcomes.rewards)?;
        outcomes.truncated.map_or(Ok(()), |x| check_len("truncated", x.len(), sequences, "sequences"))?;
        if self.needs_value() {
            let because = "this advantage subtracts the value of each sequence's prompt from its reward";
            let values = outcomes.values.ok_or(Error::Missing { argument: "values", sequence: None, because })?;
            check_len("values", values.len(), sequences, "sequences")?;
            check_finite("values", values)?;
        }
        let Self::PolicyGradient(o) = self else { return Ok(()) };
        if o.counts_tokens() || o.takes_kl_off_rewards() {
            let because = "this objective counts the tokens of each sequence when it computes advantages from rewards";
            let offsets = outcomes.offsets.ok_or(Error::Missing { argument: "offsets", sequence: None, because })?;
            check_offsets(offsets, sequences)?;
            let tokens = offsets[sequences] - offsets[0];
            let log_probs = [("ref_log_probs", outcomes.ref_log_probs), ("old_log_probs", outcomes.old_log_probs)];
            for (argument, slice) in log_probs.into_iter().filter(|_| o.takes_kl_off_rewards()) {
                let because = "`kl_in = \"raw-reward\"` subtracts kl·(log π_old − log π_ref) from each raw reward";
                let slice = slice.ok_or(Error::Missing { argument, sequence: None, because })?;
                check_len(argument, slice.len(), tokens, "tokens")?;
            }
        }
        Ok(())
    }

    /// Sets the masks, which decide which sequences are in the loss.
    fn mask<T: Real>(&self, outcomes: &Outcomes<'_, T>, order: &[usize], masks: &mut [Mask]) {
        let (truncated, degenerate) = match self {
            Self::FlowRl(o) => (o.mask_truncated, o.mask_degenerate),
            Self::PolicyGradient(o) => (o.mask_truncated, o.mask_degenerate),
        };
        masks.fill(Mask::In);
        if let Some(truncated) = outcomes.truncated.filter(|_| truncated) {
            for (mask, _) in masks.iter_mut().zip(truncated).filter(|(_, truncated)| **truncated) {
                *mask = Mask::Empty;
            }
        }
        for group in runs(outcomes.groups, order).filter(|group| degenerate && group.len() > 1) {
            if group.iter().all(|&i| outcomes.rewards[i] == outcomes.rewards[group[0]]) {
                group.iter().for_each(|&i| masks[i] = Mask::Out);
            }
        }
    }
}

/// Computes the loss ½·mean (V − r)² that trains PPO's value network, and writes ∂loss/∂V to `d_values` (one element
/// per sequence). `sequences` is the size of the whole batch, as in [`Totals`](super::Totals).
///
/// # Errors
/// Returns an error if a length differs or an input is not finite.
pub fn value_loss<T: Real>(rewards: &[T], values: &[T], sequences: usize, d_values: &mut [T]) -> Result<f64, Error> {
    check_len("values", values.len(), rewards.len(), "sequences")?;
    check_len("d_values", d_values.len(), rewards.len(), "sequences")?;
    check_finite("rewards", rewards)?;
    check_finite("values", values)?;
    let mut loss = 0.0;
    for ((d_value, value), reward) in d_values.iter_mut().zip(values).zip(rewards) {
        let error = value.f64() - reward.f64();
        *d_value = T::of(error / sequences as f64);
        loss += 0.5 * error * error / sequences as f64;
    }
    Ok(loss)
}

/// Subtracts kl·(L_old − L_ref) from the reward of each sequence that the masks keep.
fn take_kl_off<T: Real>(kl: f64, outcomes: &Outcomes<'_, T>, masks: &[Mask], rewards: &mut [T]) {
    let (Some(offsets), Some(old), Some(reference)) =
        (outcomes.offsets, outcomes.old_log_probs, outcomes.ref_log_probs)
    else {
        return;
    };
    for (i, reward) in rewards.iter_mut().enumerate().filter(|(i, _)| masks[*i] == Mask::In) {
        let tokens = offsets[i] - offsets[0]..offsets[i + 1] - offsets[0];
        let differences = old[tokens.clone()].iter().zip(&reference[tokens]).map(|(o, f)| o.f64() - f.f64());
        *reward = T::of(reward.f64() - kl * differences.sum::<f64>());
    }
}

/// Replaces each reward by `shape` of it and of its group's statistics. The reward of a group of one stays.
#[inline(never)]
fn by_group<T: Real>(groups: &[usize], order: &[usize], rewards: &mut [T], shape: &dyn Fn(f64, &Statistics) -> f64) {
    for group in runs(groups, order).filter(|group| group.len() > 1) {
        let statistics = Statistics::of(group.len(), &|k| (rewards[group[k]].f64(), 1.0));
        for &i in group {
            rewards[i] = T::of(shape(rewards[i].f64(), &statistics));
        }
    }
}

/// Replaces each reward by (r − mean) / `scale` over the batch, in which sequence i counts `times(i)` times.
#[inline(never)]
fn whole<T: Real>(rewards: &mut [T], times: &dyn Fn(usize) -> f64, scale: &dyn Fn(&Statistics) -> f64) {
    let statistics = Statistics::of(rewards.len(), &|i| (rewards[i].f64(), times(i)));
    let scale = scale(&statistics);
    for reward in rewards {
        *reward = T::of(statistics.normalise(reward.f64(), scale));
    }
}

/// Mean and deviation of some rewards, each with the number of times it counts.
struct Statistics {
    count: f64,
    mean: f64,
    squares: f64,
    /// Kept separately, because rounding gives equal rewards a tiny deviation instead of 0.
    all_equal: bool,
}

impl Statistics {
    /// Computes the statistics of `len` rewards. The call through a pointer lets all callers share one copy, since
    /// inlined copies would be most of the callers' code.
    #[inline(never)]
    fn of(len: usize, reward: &dyn Fn(usize) -> (f64, f64)) -> Self {
        let rewards = || (0..len).map(reward);
        let count = rewards().map(|(_, times)| times).sum::<f64>();
        let mean = rewards().map(|(r, times)| times * r).sum::<f64>() / count;
        let squares = rewards().map(|(r, times)| times * ((r - mean) * (r - mean))).sum::<f64>();
        let all_equal = (1..len).all(|i| reward(i - 1).0 == reward(i).0);
        Self { count, mean, squares, all_equal }
    }

    fn variance(&self, ddof: usize) -> f64 {
        self.squares / (self.count - ddof as f64).max(1.0)
    }

    fn std(&self, ddof: usize) -> f64 {
        Real::sqrt(self.variance(ddof))
    }

    /// Returns (reward − mean) / scale, but 0 if all rewards are equal, whatever the scale.
    fn normalise(&self, reward: f64, scale: f64) -> f64 {
        if self.all_equal || self.count == 0.0 { 0.0 } else { (reward - self.mean) / scale }
    }
}
