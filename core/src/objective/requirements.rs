//! What options ask for: the inputs that an objective needs, and their ranges.

use super::{
    Advantage, Aggregate, Balance, Error, FlowRl, Importance, KlIn, Length, LogZ, Objective, PolicyGradient, Ratio,
    Reward, RolloutCorrection, Shape, TokenMask,
};

impl FlowRl {
    /// Whether a mask may leave sequences out.
    pub(super) fn masks(&self) -> bool {
        self.mask_truncated || self.mask_degenerate
    }

    /// Whether rewards are divided by their standard deviation.
    #[cfg(feature = "serde")]
    pub(super) fn normalises(&self) -> bool {
        self.reward == Reward::Group
    }

    /// Whether sequences have a weight.
    pub(super) fn weighs(&self) -> bool {
        self.importance != Importance::None
    }

    /// The bound of the residual that is set, by its name.
    pub(crate) fn residual_clip(&self) -> Option<&'static str> {
        let bounds = [("residual_clip_low", self.residual_clip_low), ("residual_clip_high", self.residual_clip_high)];
        bounds.into_iter().find(|(_, bound)| bound.get().is_some()).map(|(name, _)| name)
    }

    /// Two options that exclude each other.
    fn conflict(&self) -> Result<(), Error> {
        let flows = self.balance != Balance::Trajectory;
        let pairs = self.log_z == LogZ::Pairwise;
        let clip = self.residual_clip();
        let bound = clip.unwrap_or_default();
        let conflicts = [
            (flows && self.length != Length::Sum, "length", "balance", "`\"sum\"`: flows balance sums, not means"),
            (
                flows && self.token_mask != TokenMask::None,
                "token_mask",
                "balance",
                "`\"none\"`: flows balance whole completions",
            ),
            (flows && self.shape != Shape::Squared, "shape", "balance", "`\"squared\"`"),
            (flows && self.reference_power != 1.0, "reference_power", "balance", "1"),
            (flows && clip.is_some(), bound, "balance", "`\"none\"`: only whole completions have a bounded residual"),
            (flows && pairs, "log_z", "balance", "another one than `\"pairwise\"`, which compares whole completions"),
            (pairs && self.weighs(), "importance", "log_z", "`\"none\"`: pairs have no weight"),
            (pairs && clip.is_some(), bound, "log_z", "`\"none\"`: pairs have no residual of one completion to bound"),
            (
                clip.is_some() && self.token_mask != TokenMask::None,
                "token_mask",
                bound,
                "`\"none\"`: the bound is on whole completions",
            ),
        ];
        match conflicts.into_iter().find(|(conflict, ..)| *conflict) {
            Some((_, option, with, want)) => Err(Error::Conflict { option, with, want }),
            None => Ok(()),
        }
    }
}

impl PolicyGradient {
    /// Whether a mask may leave sequences out.
    pub(super) fn masks(&self) -> bool {
        self.mask_truncated || self.mask_degenerate || self.mask_off_policy.get().is_some()
    }

    /// Whether rewards are divided by their standard deviation.
    #[cfg(feature = "serde")]
    pub(super) fn normalises(&self) -> bool {
        !matches!(
            self.advantage,
            Advantage::Raw | Advantage::Center | Advantage::LeaveOneOut | Advantage::BatchCenter | Advantage::Value
        )
    }

    /// Whether there is a ratio.
    pub(super) fn weighs(&self) -> bool {
        self.ratio != Ratio::None
    }

    /// Whether the ratio is of the whole sequence.
    pub(super) fn weighs_sequences(&self) -> bool {
        matches!(self.ratio, Ratio::Sequence | Ratio::Trajectory)
    }

    /// Whether the term is a clipped surrogate, whose ratio has a gradient.
    #[cfg(feature = "serde")]
    pub(super) fn has_surrogate(&self) -> bool {
        !matches!(self.ratio, Ratio::None | Ratio::Detached)
    }

    /// Whether a KL term is part of the loss.
    pub(super) fn has_kl_loss(&self) -> bool {
        self.kl != 0.0 && self.kl_in == KlIn::Loss
    }

    /// Whether a KL term is taken off raw rewards.
    pub(super) fn takes_kl_off_rewards(&self) -> bool {
        self.kl != 0.0 && self.kl_in == KlIn::RawReward
    }

    /// Whether advantages depend on the lengths of the sequences.
    pub(super) fn counts_tokens(&self) -> bool {
        matches!(self.advantage, Advantage::Token | Advantage::CenterToken)
    }
}

impl Objective {
    /// Whether `ref_log_probs` must be given.
    #[must_use]
    pub fn needs_reference(&self) -> bool {
        match self {
            Self::FlowRl(o) => o.reference_power != 0.0,
            Self::PolicyGradient(o) => o.kl != 0.0,
        }
    }

    /// Whether `old_log_probs` matter. They may still be absent, which means "on policy".
    #[must_use]
    pub fn needs_old(&self) -> bool {
        match self {
            Self::FlowRl(o) => {
                o.weighs()
                    || o.token_mask != TokenMask::None
                    || o.residual_clip().is_some()
                    || o.log_z == LogZ::OldGroupMean
            }
            Self::PolicyGradient(o) => {
                o.weighs()
                    || o.kl != 0.0 && (o.kl_unbiased || o.kl_in == KlIn::RawReward)
                    || o.mask_off_policy.get().is_some()
                    || o.rollout_correction != RolloutCorrection::None
            }
        }
    }

    /// Whether `rollout_log_probs` matter.
    #[must_use]
    pub fn corrects_rollouts(&self) -> bool {
        matches!(self, Self::PolicyGradient(o) if o.rollout_correction != RolloutCorrection::None)
    }

    /// Whether `log_flows` must be given.
    #[must_use]
    pub fn needs_flows(&self) -> bool {
        matches!(self, Self::FlowRl(FlowRl { balance: Balance::SubTrajectory(_) | Balance::Detailed, .. }))
    }

    /// Whether `entropies` must be given, and have a gradient.
    #[must_use]
    pub fn needs_entropies(&self) -> bool {
        matches!(self, Self::PolicyGradient(o) if o.entropy != 0.0)
    }

    /// Whether only differences between the rewards of a group count: where all are equal there is nothing to learn from them.
    #[must_use]
    pub fn compares_within_group(&self) -> bool {
        match self {
            Self::FlowRl(o) => o.reward != Reward::Raw,
            Self::PolicyGradient(o) => !matches!(
                o.advantage,
                Advantage::Raw | Advantage::Batch | Advantage::BatchCenter | Advantage::Token | Advantage::Value
            ),
        }
    }

    /// β, the inverse temperature of the target; `None` for a policy gradient, which has none.
    #[must_use]
    pub fn beta(&self) -> Option<f64> {
        match self {
            Self::FlowRl(o) => Some(o.beta),
            Self::PolicyGradient(_) => None,
        }
    }

    /// Where log Z comes from; `None` for a policy gradient, which has none.
    #[must_use]
    pub fn log_z(&self) -> Option<LogZ> {
        match self {
            Self::FlowRl(o) => Some(o.log_z),
            Self::PolicyGradient(_) => None,
        }
    }

    /// Whether a value V(x) of each sequence's prompt must be given.
    #[must_use]
    pub fn needs_value(&self) -> bool {
        matches!(self, Self::PolicyGradient(PolicyGradient { advantage: Advantage::Value, .. }))
    }

    /// Checks that every option is in its range. The other methods call it.
    ///
    /// # Errors
    /// [`Error::Option`] names the first option that is not, [`Error::Conflict`] two that exclude each other.
    pub fn validate(&self) -> Result<(), Error> {
        let ensure = |ok: bool, option, got, want| if ok { Ok(()) } else { Err(Error::Option { option, got, want }) };
        let (ddof, eps, low, high) = match self {
            Self::FlowRl(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
            Self::PolicyGradient(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
        };
        let (low, high) = (low.get(), high.get());
        ensure(ddof <= 1, "reward_ddof", ddof as f64, "0 or 1")?;
        ensure(eps.is_finite() && eps >= 0.0, "reward_eps", eps, "finite and at least 0")?;
        if let Some(low) = low {
            ensure(low.is_finite() && low >= 0.0, "clip_low", low, "finite and at least 0, or absent")?;
        }
        if let Some(high) = high {
            let above = high > 0.0 && low.is_none_or(|low| high >= low);
            ensure(high.is_finite() && above, "clip_high", high, "finite, above 0 and at least `clip_low`, or absent")?;
        }
        match self {
            Self::FlowRl(o) => {
                let want = "finite and at least 0; to prefer low rewards, negate them";
                ensure(o.beta.is_finite() && o.beta >= 0.0, "beta", o.beta, want)?;
                ensure(o.length != Length::Fixed(0), "length", 0.0, "at least 1 where it is fixed")?;
                let (low, high, h) = (o.token_clip_low, o.token_clip_high, o.huber_delta);
                ensure(low.is_finite() && low >= 0.0, "token_clip_low", low, "finite and at least 0")?;
                ensure(high.is_finite() && high > 0.0, "token_clip_high", high, "finite and above 0")?;
                ensure(h.is_finite() && h > 0.0, "huber_delta", h, "finite and above 0")?;
                if let Balance::SubTrajectory(lambda) = o.balance {
                    ensure(lambda.is_finite() && lambda > 0.0, "balance.sub-trajectory", lambda, "finite and above 0")?;
                }
                let (power, gap) = (o.reference_power, o.pair_gap);
                ensure(power.is_finite() && power >= 0.0, "reference_power", power, "finite and at least 0")?;
                ensure(gap.is_finite() && gap >= 0.0, "pair_gap", gap, "finite and at least 0")?;
                for (option, bound) in
                    [("residual_clip_low", o.residual_clip_low), ("residual_clip_high", o.residual_clip_high)]
                {
                    let above = |x: f64| x.is_finite() && x > 0.0;
                    let got = bound.get();
                    ensure(got.is_none_or(above), option, got.unwrap_or_default(), "finite and above 0, or absent")?;
                }
                o.conflict()
            }
            Self::PolicyGradient(o) => {
                ensure(o.kl.is_finite() && o.kl >= 0.0, "kl", o.kl, "finite and at least 0")?;
                ensure(o.entropy.is_finite() && o.entropy >= 0.0, "entropy", o.entropy, "finite and at least 0")?;
                ensure(o.aggregate != Aggregate::Fixed(0), "aggregate", 0.0, "at least 1 where it is fixed")?;
                if let Some(c) = o.dual_clip.get() {
                    ensure(c.is_finite() && c > 1.0, "dual_clip", c, "finite and above 1, or absent")?;
                }
                if let Some(max) = o.kl_max.get() {
                    ensure(max.is_finite() && max > 0.0, "kl_max", max, "finite and above 0, or absent")?;
                }
                if let Some(delta) = o.mask_off_policy.get() {
                    ensure(
                        delta.is_finite() && delta >= 0.0,
                        "mask_off_policy",
                        delta,
                        "finite and at least 0, or absent",
                    )?;
                }
                let (min, max) = (o.rollout_min, o.rollout_max);
                ensure(max.is_finite() && max > 0.0, "rollout_max", max, "finite and above 0")?;
                ensure((0.0..=max).contains(&min), "rollout_min", min, "at least 0 and at most `rollout_max`")
            }
        }
    }
}
