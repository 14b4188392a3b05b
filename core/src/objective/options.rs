//! The options of an objective. The table has one row for each option, with its name, its help text and the condition
//! under which it is used.

use super::{
    Advantage, Aggregate, Balance, Bound, Importance, KlEstimator, KlIn, Length, LogZ, Preset, Ratio, Reward,
    RolloutCorrection, Shape, TokenMask,
};

/// Defines the option structs of both families of objectives, with a setter for each option, and [`ObjectiveSpec`], the
/// form of a file in which every option may be absent. The rows are those of the two families and those that they
/// share.
macro_rules! options {
    (
        shared {
            $( $s:ident, $with_s:ident($arg_s:ty): $type_s:ty = $help_s:literal, if |$o_s:ident| $used_s:expr; )+
        }
        $(#[$flow_meta:meta])* FlowRl {
            $( $f:ident, $with_f:ident($arg_f:ty): $type_f:ty = $help_f:literal, if |$o_f:ident| $used_f:expr; )+
        }
        $(#[$gradient_meta:meta])* PolicyGradient {
            $( $p:ident, $with_p:ident($arg_p:ty): $type_p:ty = $help_p:literal, if |$o_p:ident| $used_p:expr; )+
        }
    ) => {
        options!(@struct $(#[$flow_meta])* FlowRl
            $( $f, $with_f, $arg_f, $type_f, $help_f; )+ $( $s, $with_s, $arg_s, $type_s, $help_s; )+);
        options!(@struct $(#[$gradient_meta])* PolicyGradient
            $( $p, $with_p, $arg_p, $type_p, $help_p; )+ $( $s, $with_s, $arg_s, $type_s, $help_s; )+);

        /// Every option of an objective with its help text: those of FlowRL, those of both families, and those of
        /// policy gradients.
        pub const OPTIONS: &[(&str, &str)] = &[
            $( (stringify!($f), concat!("FlowRL: ", $help_f)), )+
            $( (stringify!($s), $help_s), )+
            $( (stringify!($p), concat!("policy gradients: ", $help_p)), )+
        ];

        /// An objective as it is written in a configuration or batch file. Options that are not set keep the preset's
        /// values.
        ///
        /// ```
        /// use flowrl_core::objective::{Objective, ObjectiveSpec};
        /// let spec: ObjectiveSpec = serde_json::from_str(r#"{"preset": "verl-recipe", "beta": 5, "length": {"fixed": 32}}"#)?;
        /// let Objective::FlowRl(options) = spec.resolve()? else { unreachable!() };
        /// assert_eq!((options.beta, options.clip_low.get(), options.clip_high.get()), (5.0, None, Some(10.0)));
        /// # Ok::<(), Box<dyn std::error::Error>>(())
        /// ```
        #[cfg(feature = "serde")]
        #[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        #[non_exhaustive]
        pub struct ObjectiveSpec {
            /// The preset; without one, the FlowRL paper's.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub preset: Option<Preset>,
            /// Another name of `preset`. A batch file may set both if this is `flowrl` and the preset belongs to
            /// FlowRL.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub kind: Option<Preset>,
            $( #[doc = $help_f] #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "super::spec::given")]
               pub $f: Option<$type_f>, )+
            $( #[doc = $help_s] #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "super::spec::given")]
               pub $s: Option<$type_s>, )+
            $( #[doc = $help_p] #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "super::spec::given")]
               pub $p: Option<$type_p>, )+
        }

        #[cfg(feature = "serde")]
        impl ObjectiveSpec {
            /// Overwrites the options of `objective` with those that are set.
            pub(super) fn apply(&self, objective: &mut Objective) {
                match objective {
                    Objective::FlowRl(o) => {
                        $( if let Some(value) = self.$f { o.$f = value; } )+
                        $( if let Some(value) = self.$s { o.$s = value; } )+
                    }
                    Objective::PolicyGradient(o) => {
                        $( if let Some(value) = self.$p { o.$p = value; } )+
                        $( if let Some(value) = self.$s { o.$s = value; } )+
                    }
                }
            }

            /// Returns a spec with every option that an objective uses, and no other.
            pub(super) fn of(objective: &Objective) -> Self {
                let mut spec = Self::default();
                match objective {
                    Objective::FlowRl(o) => {
                        $( spec.$f = (|$o_f: &FlowRl| $used_f)(o).then_some(o.$f); )+
                        $( spec.$s = (|$o_s: &FlowRl| $used_s)(o).then_some(o.$s); )+
                    }
                    Objective::PolicyGradient(o) => {
                        $( spec.$p = (|$o_p: &PolicyGradient| $used_p)(o).then_some(o.$p); )+
                        $( spec.$s = (|$o_s: &PolicyGradient| $used_s)(o).then_some(o.$s); )+
                    }
                }
                spec
            }

            /// Returns the options that are set here but not in `used`.
            pub(super) fn beyond(&self, used: &Self) -> alloc::vec::Vec<&'static str> {
                let all = [
                    $( (stringify!($f), self.$f.is_some(), used.$f.is_some()), )+
                    $( (stringify!($s), self.$s.is_some(), used.$s.is_some()), )+
                    $( (stringify!($p), self.$p.is_some(), used.$p.is_some()), )+
                ];
                all.into_iter().filter(|&(_, set, used)| set && !used).map(|(name, ..)| name).collect()
            }
        }
    };
    (@struct $(#[$meta:meta])* $name:ident $( $field:ident, $with:ident, $arg:ty, $type:ty, $help:literal; )+) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct $name {
            $( #[doc = $help] pub $field: $type, )+
        }

        impl $name {
            $(
                #[doc = concat!("Sets `", stringify!($field), "`: ", $help)]
                #[must_use]
                pub fn $with(mut self, value: $arg) -> Self {
                    self.$field = value.into();
                    self
                }
            )+
        }
    };
}

options! {
    shared {
        reward_ddof, with_reward_ddof(usize): usize = "0 or 1: the standard deviation of rewards divides by n − ddof", if |o| o.normalises();
        reward_eps, with_reward_eps(f64): f64 = "added to the standard deviation, variance or mean that divides rewards", if |o| o.normalises();
        clip_low, with_clip_low(Option<f64>): Bound = "lower bound of a weight or a ratio, or none", if |o| o.weighs();
        clip_high, with_clip_high(Option<f64>): Bound = "upper bound of a weight or a ratio, or none", if |o| o.weighs();
        mask_truncated, with_mask_truncated(bool): bool = "leave completions that were cut at the length limit out of the loss", if |_o| true;
        mask_degenerate, with_mask_degenerate(bool): bool = "leave groups whose rewards are all equal out of the loss", if |_o| true;
    }
    /// The options of FlowRL. The [`Default`] is the paper's; `FlowRl::default().with_beta(5.0)` changes one of them.
    FlowRl {
        beta, with_beta(f64): f64 = "inverse temperature β of the target π_ref·exp(βr)/Z", if |_o| true;
        reference_power, with_reference_power(f64): f64 = "power α of the reference in the target π_ref^α·exp(βr)/Z; 0 needs no reference", if |_o| true;
        balance, with_balance(Balance): Balance = "the parts of a completion over which the flows must balance: trajectory, { sub-trajectory = λ } or detailed", if |_o| true;
        length, with_length(Length): Length = "divisor of log π and log π_ref: mean, sum or { fixed = n }", if |_o| true;
        reward, with_reward(Reward): Reward = "how r becomes r̂: group, center or raw", if |_o| true;
        importance, with_importance(Importance): Importance = "weight of a sequence that an older policy sampled: sequence, geometric or none", if |_o| true;
        token_mask, with_token_mask(TokenMask): TokenMask = "mask that leaves out tokens: none or cispo", if |_o| true;
        token_clip_low, with_token_clip_low(f64): f64 = "the mask drops tokens with r̂ < 0 and π/π_old below this value", if |o| o.token_mask != TokenMask::None;
        token_clip_high, with_token_clip_high(f64): f64 = "the mask drops tokens with r̂ > 0 and π/π_old above this value", if |o| o.token_mask != TokenMask::None;
        log_z, with_log_z(LogZ): LogZ = "source of log Z: network, scalar, table, group-mean, leave-one-out, old-group-mean, pairwise, zero, frozen or given", if |_o| true;
        pair_gap, with_pair_gap(f64): f64 = "pairs whose βr̂ differ by at most this value are not compared; 0 compares all pairs", if |o| o.log_z == LogZ::Pairwise;
        shape, with_shape(Shape): Shape = "penalty of the residual: squared or huber", if |_o| true;
        huber_delta, with_huber_delta(f64): f64 = "size of the residual above which Huber's penalty is linear", if |o| o.shape == Shape::Huber;
        residual_clip_low, with_residual_clip_low(Option<f64>): Bound = "number x above 0 such that −x is the lower bound of the residual at π_old, or none", if |_o| true;
        residual_clip_high, with_residual_clip_high(Option<f64>): Bound = "upper bound of the residual at π_old, above 0, or none", if |_o| true;
    }
    /// The options of a policy gradient, −A times a function of the ratio π/π_old. The [`Default`] is GRPO without its
    /// KL term.
    PolicyGradient {
        advantage, with_advantage(Advantage): Advantage = "how r becomes the advantage A: raw, group, center, leave-one-out, group-batch, mean, token, center-token, batch, batch-center or value", if |_o| true;
        ratio, with_ratio(Ratio): Ratio = "ratio to the policy that sampled: none, token, sequence, trajectory or detached", if |_o| true;
        dual_clip, with_dual_clip(Option<f64>): Bound = "upper bound of the ratio if A < 0, above 1, or none", if |o| o.has_surrogate();
        kl, with_kl(f64): f64 = "coefficient of the KL to the reference; 0 needs no reference", if |_o| true;
        kl_in, with_kl_in(KlIn): KlIn = "the term to which the KL is applied: loss, reward or raw-reward", if |o| o.kl != 0.0;
        kl_estimator, with_kl_estimator(KlEstimator): KlEstimator = "estimate of a token's KL in the loss: k1, k2 or k3", if |o| o.has_kl_loss();
        kl_max, with_kl_max(Option<f64>): Bound = "upper bound of k3, which has no gradient above it, or none", if |o| o.has_kl_loss() && o.kl_estimator == KlEstimator::K3;
        kl_unbiased, with_kl_unbiased(bool): bool = "multiply the estimate by the ratio, with its gradient", if |o| o.has_kl_loss();
        aggregate, with_aggregate(Aggregate): Aggregate = "how token terms are combined into one number: sequence-mean, token-mean or { fixed = n }", if |_o| true;
        entropy, with_entropy(f64): f64 = "coefficient of the mean entropy, which is subtracted from the loss", if |_o| true;
        mask_off_policy, with_mask_off_policy(Option<f64>): Bound = "leave out sequences with A < 0 whose mean l_old − l is above this value, or none", if |_o| true;
        rollout_correction, with_rollout_correction(RolloutCorrection): RolloutCorrection = "weight that corrects for an engine with other log-probabilities than the policy: none, token-truncate, token-mask, sequence-truncate or sequence-mask", if |_o| true;
        rollout_min, with_rollout_min(f64): f64 = "lower bound of the rollout weight; 0: no bound", if |o| o.rollout_correction != RolloutCorrection::None;
        rollout_max, with_rollout_max(f64): f64 = "upper bound of the rollout weight", if |o| o.rollout_correction != RolloutCorrection::None;
    }
}

/// The objective to optimise, with a value for every option.
///
/// ```
/// use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset};
///
/// let paper = Objective::preset(Preset::Paper);
/// assert!(paper.needs_reference());
///
/// let mine = Objective::from(FlowRl::default().with_beta(5.0).with_log_z(LogZ::GroupMean));
/// assert_eq!(mine.log_z(), Some(LogZ::GroupMean));
///
/// let grpo: Objective = "grpo".parse()?;
/// assert_eq!(grpo, Objective::preset(Preset::Grpo));
/// # Ok::<(), flowrl_core::objective::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Objective {
    /// Trajectory balance: π → π_ref·exp(βr)/Z.
    FlowRl(FlowRl),
    /// A policy gradient, with the same interface.
    PolicyGradient(PolicyGradient),
}

impl From<FlowRl> for Objective {
    fn from(options: FlowRl) -> Self {
        Self::FlowRl(options)
    }
}

impl From<PolicyGradient> for Objective {
    fn from(options: PolicyGradient) -> Self {
        Self::PolicyGradient(options)
    }
}

impl Default for FlowRl {
    fn default() -> Self {
        Self {
            beta: 15.0,
            reference_power: 1.0,
            balance: Balance::Trajectory,
            length: Length::Mean,
            reward: Reward::Group,
            reward_ddof: 1,
            reward_eps: 1e-6,
            importance: Importance::Sequence,
            clip_low: Bound::At(0.8),
            clip_high: Bound::At(1.2),
            mask_truncated: false,
            mask_degenerate: false,
            token_mask: TokenMask::None,
            token_clip_low: 0.8,
            token_clip_high: 1.28,
            log_z: LogZ::Network,
            pair_gap: 0.0,
            shape: Shape::Squared,
            huber_delta: 1.0,
            residual_clip_low: Bound::Absent,
            residual_clip_high: Bound::Absent,
        }
    }
}

impl Default for PolicyGradient {
    fn default() -> Self {
        Self {
            advantage: Advantage::Group,
            reward_ddof: 1,
            reward_eps: 1e-6,
            ratio: Ratio::Token,
            clip_low: Bound::At(0.8),
            clip_high: Bound::At(1.2),
            dual_clip: Bound::Absent,
            kl: 0.0,
            kl_in: KlIn::Loss,
            kl_estimator: KlEstimator::K3,
            kl_max: Bound::Absent,
            kl_unbiased: false,
            aggregate: Aggregate::SequenceMean,
            mask_truncated: false,
            mask_degenerate: false,
            entropy: 0.0,
            mask_off_policy: Bound::Absent,
            rollout_correction: RolloutCorrection::None,
            rollout_min: 0.0,
            rollout_max: 2.0,
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Objective::preset(Preset::Paper)
    }
}
