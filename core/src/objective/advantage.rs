//! Phase one: raw rewards of the whole batch become r̂ or A.

use super::batch::{check_finite, check_length};
use super::groups::{runs, sort_by_group};
use super::{Baseline, BaselineKind, Error, FlowRl, Objective, Reward};
use crate::Real;

impl Objective {
    /// What the loss uses instead of raw rewards: r̂ (FlowRL) or the advantage A (a baseline), for the **whole** batch.
    ///
    /// `rewards`, `groups`, `order` (scratch) and `out` have one element per sequence; `values` holds V(x) of each sequence's
    /// prompt where [`needs_value`](Self::needs_value). Groups may be interleaved.
    ///
    /// # Errors
    /// A length that differs, a missing or non-finite input, an option out of range, a result beyond `T`.
    pub fn advantages<T: Real>(
        &self,
        rewards: &[T],
        groups: &[usize],
        values: Option<&[T]>,
        order: &mut [usize],
        out: &mut [T],
    ) -> Result<(), Error> {
        self.check_rewards(rewards, groups, values, order, out)?;
        match self {
            Self::FlowRl(FlowRl { reward, reward_ddof, reward_eps, .. }) => {
                by_group(rewards, groups, *reward, *reward_ddof, *reward_eps, order, out);
            }
            Self::Baseline(Baseline { kind, reward_ddof, reward_eps, .. }) => match kind {
                BaselineKind::Grpo | BaselineKind::Dapo | BaselineKind::Gspo | BaselineKind::Cispo => {
                    by_group(rewards, groups, Reward::Group, *reward_ddof, *reward_eps, order, out);
                }
                BaselineKind::DrGrpo => {
                    by_group(rewards, groups, Reward::Center, *reward_ddof, *reward_eps, order, out);
                }
                BaselineKind::Reinforce | BaselineKind::ReinforcePlusPlus => {
                    let scale = *kind == BaselineKind::ReinforcePlusPlus;
                    let statistics = Statistics::of(rewards.iter().map(|r| r.f64()), *reward_ddof);
                    for (out, reward) in out.iter_mut().zip(rewards) {
                        *out = T::of(statistics.normalise(reward.f64(), scale.then_some(*reward_eps)));
                    }
                }
                BaselineKind::Ppo => {
                    let values = values.unwrap_or_default();
                    for ((out, reward), value) in out.iter_mut().zip(rewards).zip(values) {
                        *out = T::of(reward.f64() - value.f64());
                    }
                }
            },
        }
        match out.iter().position(|a| !a.is_finite()) {
            None => Ok(()),
            Some(sequence) => Err(Error::Overflow { quantity: "advantage", sequence }),
        }
    }

    /// What [`advantages`](Self::advantages) checks before it computes. For devices that compute them themselves.
    ///
    /// # Errors
    /// As [`advantages`](Self::advantages), but for a result beyond `T`.
    pub fn check_rewards<T: Real>(
        &self,
        rewards: &[T],
        groups: &[usize],
        values: Option<&[T]>,
        order: &[usize],
        out: &[T],
    ) -> Result<(), Error> {
        self.validate()?;
        let sequences = groups.len();
        check_length("rewards", rewards.len(), sequences, "sequences")?;
        check_length("order", order.len(), sequences, "sequences")?;
        check_length("advantages", out.len(), sequences, "sequences")?;
        check_finite("rewards", rewards)?;
        if self.needs_value() {
            let because = "`ppo` subtracts the value of each sequence's prompt from its reward";
            let values = values.ok_or(Error::Missing { argument: "values", sequence: None, because })?;
            check_length("values", values.len(), sequences, "sequences")?;
            check_finite("values", values)?;
        }
        Ok(())
    }
}

/// The loss ½·mean (V − r)² that trains PPO's value network, and ∂/∂V into `d_values` (one element per sequence each).
/// `sequences` is the size of the whole batch, as in [`Totals`](super::Totals).
///
/// # Errors
/// A length that differs, or a non-finite input.
pub fn value_loss<T: Real>(rewards: &[T], values: &[T], sequences: usize, d_values: &mut [T]) -> Result<f64, Error> {
    check_length("values", values.len(), rewards.len(), "sequences")?;
    check_length("d_values", d_values.len(), rewards.len(), "sequences")?;
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

fn by_group<T: Real>(
    rewards: &[T],
    groups: &[usize],
    mode: Reward,
    ddof: usize,
    eps: f64,
    order: &mut [usize],
    out: &mut [T],
) {
    sort_by_group(groups, order);
    for group in runs(groups, order) {
        let keep = mode == Reward::Raw || group.len() == 1;
        let statistics = Statistics::of(group.iter().map(|&i| rewards[i].f64()), ddof);
        let eps = (mode == Reward::Group).then_some(eps);
        for &i in group {
            out[i] = if keep { rewards[i] } else { T::of(statistics.normalise(rewards[i].f64(), eps)) };
        }
    }
}

/// Mean and standard deviation of some rewards.
struct Statistics {
    mean: f64,
    std: f64,
    /// Kept apart from `std == 0`: rounding gives equal rewards a tiny deviation.
    all_equal: bool,
}

impl Statistics {
    fn of(rewards: impl Iterator<Item = f64> + Clone, ddof: usize) -> Self {
        let count = rewards.clone().count();
        let mean = rewards.clone().sum::<f64>() / count as f64;
        let squares = rewards.clone().map(|r| (r - mean) * (r - mean)).sum::<f64>();
        let all_equal = rewards.clone().zip(rewards.skip(1)).all(|(a, b)| a == b);
        Self { mean, std: Real::sqrt(squares / count.saturating_sub(ddof).max(1) as f64), all_equal }
    }

    /// reward − mean, divided by (std + eps) where an eps is given. 0 where all rewards are equal.
    fn normalise(&self, reward: f64, eps: Option<f64>) -> f64 {
        if self.all_equal {
            return 0.0;
        }
        let centred = reward - self.mean;
        eps.map_or(centred, |eps| centred / (self.std + eps))
    }
}
