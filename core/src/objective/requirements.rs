//! The requirements of options: the inputs that an objective needs, and the ranges of its options.

use super::{
    Advantage, Aggregate, Balance, Bound, Error, FlowRl, Importance, KlIn, Length, LogZ, Objective, PolicyGradient,
    Ratio, Reward, RolloutCorrection, Shape, TokenMask,
};

impl FlowRl {
    /// Returns whether a mask may drop sequences.
    pub(super) fn masks(&self) -> bool {
        self.mask_truncated || self.mask_degenerate
    }

    /// Returns whether rewards are divided by their standard deviation.
    #[cfg(feature = "serde")]
    pub(super) fn normalises(&self) -> bool {
        self.reward == Reward::Group
    }

    /// Returns whether sequences have an importance weight.
    pub(super) fn weighs(&self) -> bool {
        self.importance != Importance::None
    }

    /// Returns the name of a residual bound that is set, if there is one.
    pub(crate) fn residual_clip(&self) -> Option<&'static str> {
        let bounds = [("residual_clip_low", self.residual_clip_low), ("residual_clip_high", self.residual_clip_high)];
        bounds.into_iter().find(|(_, bound)| bound.get().is_some()).map(|(name, _)| name)
    }

    /// Returns an error if two options exclude each other.
    fn conflict(&self) -> Result<(), Error> {
        let flows = self.balance != Balance::Trajectory;
        let pairs = self.log_z == LogZ::Pairwise;
        let masks = self.token_mask != TokenMask::None;
        let (clips, bound) = (self.residual_clip().is_some(), self.residual_clip().unwrap_or_default());
        let conflicts = [
            (flows && self.length != Length::Sum, "length", "balance", "`\"sum\"`: flows balance sums, not means"),
            (flows && masks, "token_mask", "balance", "`\"none\"`: flows balance whole completions"),
            (flows && self.shape != Shape::Squared, "shape", "balance", "`\"squared\"`"),
            (flows && self.reference_power != 1.0, "reference_power", "balance", "1"),
            (flows && clips, bound, "balance", "`\"none\"`: only whole completions have a bounded residual"),
            (flows && pairs, "log_z", "balance", "another estimator: `\"pairwise\"` compares whole completions"),
            (pairs && self.weighs(), "importance", "log_z", "`\"none\"`: pairs have no weight"),
            (pairs && clips, bound, "log_z", "`\"none\"`: pairs have no residual of one completion to bound"),
            (clips && masks, "token_mask", bound, "`\"none\"`: the bound is on whole completions"),
        ];
        match conflicts.into_iter().find(|(conflict, ..)| *conflict) {
            Some((_, option, with, wanted)) => Err(Error::Conflict { option, with, wanted }),
            None => Ok(()),
        }
    }
}

impl PolicyGradient {
    /// Returns whether a mask may drop sequences.
    pub(super) fn masks(&self) -> bool {
        self.mask_truncated || self.mask_degenerate || self.mask_off_policy.get().is_some()
    }

    /// Returns whether rewards are divided by their standard deviation.
    #[cfg(feature = "serde")]
    pub(super) fn normalises(&self) -> bool {
        !matches!(
            self.advantage,
            Advantage::Raw | Advantage::Center | Advantage::LeaveOneOut | Advantage::BatchCenter | Advantage::Value
        )
    }

    /// Returns whether this objective has a ratio.
    pub(super) fn weighs(&self) -> bool {
        self.ratio != Ratio::None
    }

    /// Returns whether the ratio is that of the whole sequence.
    pub(super) fn weighs_sequences(&self) -> bool {
        matches!(self.ratio, Ratio::Sequence | Ratio::Trajectory)
    }

    /// Returns whether the policy term is a clipped surrogate, whose ratio has a gradient.
    #[cfg(feature = "serde")]
    pub(super) fn has_surrogate(&self) -> bool {
        !matches!(self.ratio, Ratio::None | Ratio::Detached)
    }

    /// Returns whether a KL term is part of the loss.
    pub(super) fn has_kl_loss(&self) -> bool {
        self.kl != 0.0 && self.kl_in == KlIn::Loss
    }

    /// Returns whether a KL term is subtracted from raw rewards.
    pub(super) fn takes_kl_off_rewards(&self) -> bool {
        self.kl != 0.0 && self.kl_in == KlIn::RawReward
    }

    /// Returns whether advantages depend on the lengths of the sequences.
    pub(super) fn counts_tokens(&self) -> bool {
        matches!(self.advantage, Advantage::Token | Advantage::CenterToken)
    }
}

impl Objective {
    /// Returns whether this objective needs `ref_log_probs`.
    pub fn needs_reference(&self) -> bool {
        match self {
            Self::FlowRl(o) => o.reference_power != 0.0,
            Self::PolicyGradient(o) => o.kl != 0.0,
        }
    }

    /// Returns whether this objective uses `rollout_log_probs`.
    pub fn corrects_rollouts(&self) -> bool {
        matches!(self, Self::PolicyGradient(o) if o.rollout_correction != RolloutCorrection::None)
    }

    /// Returns whether this objective needs `log_flows`.
    pub fn needs_flows(&self) -> bool {
        matches!(self, Self::FlowRl(FlowRl { balance: Balance::SubTrajectory(_) | Balance::Detailed, .. }))
    }

    /// Returns whether this objective needs `entropies`. They then have a gradient.
    pub fn needs_entropies(&self) -> bool {
        matches!(self, Self::PolicyGradient(o) if o.entropy != 0.0)
    }

    /// Returns whether only differences between the rewards of a group count. If so, this objective learns nothing from
    /// a group of equal rewards.
    pub fn compares_within_group(&self) -> bool {
        match self {
            Self::FlowRl(o) => o.reward != Reward::Raw,
            Self::PolicyGradient(o) => !matches!(
                o.advantage,
                Advantage::Raw | Advantage::Batch | Advantage::BatchCenter | Advantage::Token | Advantage::Value
            ),
        }
    }

    /// Returns whether log Z is a number for each prompt that tells its pass rate, see
    /// [`PromptOrder::PassRate`](crate::train::PromptOrder::PassRate).
    #[cfg(feature = "alloc")]
    pub fn tells_pass_rates(&self) -> bool {
        matches!(self, Self::FlowRl(FlowRl { log_z: LogZ::Table | LogZ::Frozen, reward: Reward::Raw, length: Length::Sum, beta, .. }) if *beta > 0.0)
    }

    /// Returns β, the inverse temperature of the target, or `None` for a policy gradient.
    pub fn beta(&self) -> Option<f64> {
        match self {
            Self::FlowRl(o) => Some(o.beta),
            Self::PolicyGradient(_) => None,
        }
    }

    /// Returns the source of log Z, or `None` for a policy gradient.
    pub fn log_z(&self) -> Option<LogZ> {
        match self {
            Self::FlowRl(o) => Some(o.log_z),
            Self::PolicyGradient(_) => None,
        }
    }

    /// Returns whether this objective needs a value V(x) of each sequence's prompt.
    pub fn needs_value(&self) -> bool {
        matches!(self, Self::PolicyGradient(PolicyGradient { advantage: Advantage::Value, .. }))
    }

    /// Checks that every option is in its range. The other methods call this one.
    ///
    /// # Errors
    /// [`Error::Option`] names the first option out of range, and [`Error::Conflict`] two options that exclude each
    /// other.
    pub fn validate(&self) -> Result<(), Error> {
        let ensure =
            |ok: bool, option, got, wanted| if ok { Ok(()) } else { Err(Error::Option { option, got, wanted }) };
        let number =
            |option, x: f64, ok: &dyn Fn(f64) -> bool, wanted| ensure(x.is_finite() && ok(x), option, x, wanted);
        let bound = |option, bound: Bound, ok: &dyn Fn(f64) -> bool, wanted| {
            bound.get().map_or(Ok(()), |x| number(option, x, ok, wanted))
        };
        let (at_least_0, above_0) = (&|x| x >= 0.0, &|x| x > 0.0);
        let (ddof, eps, low, high) = match self {
            Self::FlowRl(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
            Self::PolicyGradient(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
        };
        ensure(ddof <= 1, "reward_ddof", ddof as f64, "0 or 1")?;
        number("reward_eps", eps, at_least_0, "finite and at least 0")?;
        bound("clip_low", low, at_least_0, "finite and at least 0, or absent")?;
        let above = |high: f64| high > 0.0 && low.get().is_none_or(|low| high >= low);
        bound("clip_high", high, &above, "finite, above 0 and at least `clip_low`, or absent")?;
        match self {
            Self::FlowRl(o) => {
                number("beta", o.beta, at_least_0, "finite and at least 0; to prefer low rewards, negate them")?;
                ensure(o.length != Length::Fixed(0), "length", 0.0, "at least 1 if it is fixed")?;
                number("token_clip_low", o.token_clip_low, at_least_0, "finite and at least 0")?;
                number("token_clip_high", o.token_clip_high, above_0, "finite and above 0")?;
                number("huber_delta", o.huber_delta, above_0, "finite and above 0")?;
                if let Balance::SubTrajectory(lambda) = o.balance {
                    number("balance.sub-trajectory", lambda, above_0, "finite and above 0")?;
                }
                number("reference_power", o.reference_power, at_least_0, "finite and at least 0")?;
                number("pair_gap", o.pair_gap, at_least_0, "finite and at least 0")?;
                bound("residual_clip_low", o.residual_clip_low, above_0, "finite and above 0, or absent")?;
                bound("residual_clip_high", o.residual_clip_high, above_0, "finite and above 0, or absent")?;
                o.conflict()
            }
            Self::PolicyGradient(o) => {
                number("kl", o.kl, at_least_0, "finite and at least 0")?;
                number("entropy", o.entropy, at_least_0, "finite and at least 0")?;
                ensure(o.aggregate != Aggregate::Fixed(0), "aggregate", 0.0, "at least 1 if it is fixed")?;
                bound("dual_clip", o.dual_clip, &|x| x > 1.0, "finite and above 1, or absent")?;
                bound("kl_max", o.kl_max, above_0, "finite and above 0, or absent")?;
                bound("mask_off_policy", o.mask_off_policy, at_least_0, "finite and at least 0, or absent")?;
                number("rollout_max", o.rollout_max, above_0, "finite and above 0")?;
                let (min, wanted) = (o.rollout_min, "at least 0 and at most `rollout_max`");
                ensure((0.0..=o.rollout_max).contains(&min), "rollout_min", min, wanted)
            }
        }
    }
}
