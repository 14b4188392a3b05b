//! The options of an objective, resolved: every number is known.

use super::names::named_enum;
use super::{Error, Preset};

/// What to optimise: FlowRL or a baseline, with every option resolved.
///
/// ```
/// use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset};
///
/// let paper = Objective::preset(Preset::Paper);
/// assert!(paper.needs_reference() && paper.needs_old());
///
/// let mine = Objective::FlowRl(FlowRl { beta: 5.0, log_z: LogZ::GroupMean, ..FlowRl::default() });
/// assert_eq!(mine.log_z(), Some(LogZ::GroupMean));
///
/// let grpo: Objective = "grpo".parse()?;
/// assert_eq!(grpo.name(), "grpo");
/// # Ok::<(), flowrl_core::objective::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Objective {
    /// Trajectory balance: π → π_ref·exp(βr)/Z.
    FlowRl(FlowRl),
    /// A policy-gradient baseline with the same interface.
    Baseline(Baseline),
}

/// The options of FlowRL. [`Default`] is the paper: `FlowRl { beta: 5.0, ..FlowRl::default() }` changes one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FlowRl {
    /// β, the inverse temperature of the target. Default 15.
    pub beta: f64,
    /// Over which parts of a completion the flows must balance.
    pub balance: Balance,
    /// What L = Σ log π and L_ref are divided by.
    pub length: Length,
    /// How raw rewards become r̂.
    pub reward: Reward,
    /// Delta degrees of freedom of the group's standard deviation, 0 or 1. Default 1.
    pub reward_ddof: usize,
    /// Added to the standard deviation. Default 1e-6.
    pub reward_eps: f64,
    /// How w corrects for sampling from an older policy.
    pub importance: Importance,
    /// Lower bound of w, or none. Default 0.8.
    pub clip_low: Option<f64>,
    /// Upper bound of w, or none. Default 1.2.
    pub clip_high: Option<f64>,
    /// Which tokens are dropped.
    pub token_mask: TokenMask,
    /// [`TokenMask::Cispo`] drops a token with r̂ < 0 and π/π_old below this. Default 0.8.
    pub token_clip_low: f64,
    /// [`TokenMask::Cispo`] drops a token with r̂ > 0 and π/π_old above this. Default 1.28.
    pub token_clip_high: f64,
    /// Where log Z comes from.
    pub log_z: LogZ,
    /// The penalty of the residual.
    pub shape: Shape,
    /// h of [`Shape::Huber`]. Default 1.
    pub huber_delta: f64,
}

/// The options of a baseline. [`Baseline::new`] gives the defaults of its kind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Baseline {
    /// Which one.
    pub kind: BaselineKind,
    /// Delta degrees of freedom of the standard deviation, 0 or 1. Default 1.
    pub reward_ddof: usize,
    /// Added to the standard deviation. Default 1e-6.
    pub reward_eps: f64,
    /// Lower bound of the ratio π/π_old, or none.
    pub clip_low: Option<f64>,
    /// Upper bound of the ratio π/π_old, or none.
    pub clip_high: Option<f64>,
    /// Coefficient of the KL term. 0 needs no reference.
    pub kl: f64,
    /// Where the KL term enters.
    pub kl_in: KlIn,
    /// How token terms are averaged.
    pub aggregate: Aggregate,
}

/// What the sums of log-probabilities are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Length {
    /// T, the sequence's own length. The target becomes π_ref·exp(|y|(βr − c)): see [`crate::exact`].
    Mean,
    /// 1. The target is π_ref·exp(βr)/Z.
    Sum,
    /// n, the same for every sequence.
    Fixed(usize),
}

/// Over which parts of a completion the flows must balance: v_i = v_j for some pairs of positions i < j, where
/// v_t = log F(s_t) − Σ_{k<t} (l_k − l_ref,k), log F(s_0) = log Z and log F at the end is βr̂.
///
/// The loss of a completion is Σ λ^{j−i−1} (v_i − v_j)² / Σ λ^{j−i−1}. Anything but [`Balance::Trajectory`] needs the log-flow
/// log F(s_t) of every state on the way, which the policy learns, sums (`length = "sum"`), no token mask and the squared shape.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Balance {
    /// From the start to the end: trajectory balance (Malkin and others, arXiv 2201.13259). No flows but log Z.
    Trajectory,
    /// Every part, one of m steps with weight λᵐ⁻¹, λ above 0: sub-trajectory balance (Madan and others, arXiv 2209.12782).
    SubTrajectory(f64),
    /// Every single step: detailed balance (Bengio and others, arXiv 2111.09266). The limit of λ → 0.
    Detailed,
}

impl Balance {
    /// λ; `None` for trajectory balance.
    #[must_use]
    pub fn lambda(self) -> Option<f64> {
        match self {
            Self::Trajectory => None,
            Self::SubTrajectory(lambda) => Some(lambda),
            Self::Detailed => Some(0.0),
        }
    }
}

/// How token terms become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Aggregate {
    /// Mean over the tokens of a sequence, then over sequences.
    SequenceMean,
    /// Mean over all tokens of the batch.
    TokenMean,
    /// Sum over all tokens, divided by B·n.
    Fixed(usize),
}

named_enum! {
    /// How the raw rewards of a prompt's group become r̂. A group of one keeps its raw reward.
    pub enum Reward ("reward shaping") {
        Group = "group": "(r − mean) / (std + reward_eps) within the group; 0 where all rewards are equal",
        Center = "center": "r − mean of the group",
        Raw = "raw": "r as it is",
    }
}

named_enum! {
    /// The importance weight w of a sequence that an older policy sampled.
    pub enum Importance ("importance weight") {
        Sequence = "sequence": "clip(exp(Σ(l − l_old)))",
        Geometric = "geometric": "clip(exp(mean(l − l_old)))",
        None = "none": "1",
    }
}

named_enum! {
    /// Which tokens are left out of every mean and sum of their sequence.
    pub enum TokenMask ("token mask") {
        None = "none": "keep all",
        Cispo = "cispo": "drop tokens that already moved too far in the direction of r̂",
    }
}

named_enum! {
    /// Where log Z comes from.
    ///
    /// For a fixed policy the best log Z is the w-weighted mean of −u, u the residual without it. Group-normalised rewards sum
    /// to 0 in every group, so it is then −(mean token log-ratio to the reference): close to 0, and a log Z that "does nothing"
    /// is what the mathematics asks for.
    pub enum LogZ ("log Z estimator") {
        Network = "network": "a network on the prompt's representation",
        Scalar = "scalar": "one learned number",
        GroupMean = "group-mean": "the weighted mean of −u over the prompt's group, a constant",
        LeaveOneOut = "leave-one-out": "the same over the other members; 0 for a group of one",
        Zero = "zero": "0",
        Given = "given": "passed with each sequence",
    }
}

impl LogZ {
    /// Whether log Z is an input (learned or given), so that it has a gradient.
    #[must_use]
    pub fn is_input(self) -> bool {
        matches!(self, Self::Network | Self::Scalar | Self::Given)
    }
}

named_enum! {
    /// The penalty of the residual δ.
    pub enum Shape ("shape") {
        Squared = "squared": "δ²",
        Huber = "huber": "δ² where |δ| ≤ huber_delta, else 2·huber_delta·|δ| − huber_delta²",
    }
}

named_enum! {
    /// Where a baseline's KL term enters, d = l_ref − l. On raw rewards the two have **different optima**.
    ///
    /// [`KlIn::Reward`] is the penalty of the theory: its gradient is that of kl·KL(π ‖ π_ref), so the optimum of the expected
    /// reward is π_ref·exp(r/kl)/Z, FlowRL's target at β = 1/kl. [`KlIn::Loss`] differentiates the k3 estimate token by token, as GRPO
    /// does; on policy that is the gradient of KL(π_ref ‖ π) instead, and the optimum is another one: for answers of
    /// one token π_ref·kl/(c − r), c the number that normalises it.
    pub enum KlIn ("KL term") {
        Loss = "loss": "kl·(eᵈ − d − 1) is added to the loss of each token (k3)",
        Reward = "reward": "kl·(L − L_ref), a constant, is taken off the advantage of the sequence",
    }
}

named_enum! {
    /// The policy-gradient baselines.
    pub enum BaselineKind ("baseline") {
        Reinforce = "reinforce": "REINFORCE with the batch mean as baseline",
        ReinforcePlusPlus = "reinforce++": "batch-normalised rewards, clipped ratio per token",
        Ppo = "ppo": "clipped ratio per token, a value network as baseline",
        Grpo = "grpo": "group-normalised rewards, clipped ratio per token, KL to the reference",
        DrGrpo = "dr-grpo": "GRPO without the divisions by standard deviation and by length",
        Dapo = "dapo": "GRPO with asymmetric clipping and a mean over all tokens",
        Gspo = "gspo": "one length-normalised ratio per sequence, clipped",
        Cispo = "cispo": "clipped and detached ratio times log-probability",
    }
}

impl Default for FlowRl {
    fn default() -> Self {
        Self {
            beta: 15.0,
            balance: Balance::Trajectory,
            length: Length::Mean,
            reward: Reward::Group,
            reward_ddof: 1,
            reward_eps: 1e-6,
            importance: Importance::Sequence,
            clip_low: Some(0.8),
            clip_high: Some(1.2),
            token_mask: TokenMask::None,
            token_clip_low: 0.8,
            token_clip_high: 1.28,
            log_z: LogZ::Network,
            shape: Shape::Squared,
            huber_delta: 1.0,
        }
    }
}

impl Baseline {
    /// The defaults of `kind`. Those of `dr-grpo` divide by a fixed length of 1024: set it to the longest completion.
    #[must_use]
    pub fn new(kind: BaselineKind) -> Self {
        use BaselineKind::{Cispo, Dapo, DrGrpo, Grpo, Gspo, Ppo, Reinforce, ReinforcePlusPlus};
        let (clip_low, clip_high) = match kind {
            Dapo => (0.8, 1.28),
            Gspo => (1.0 - 3e-4, 1.0 + 4e-4),
            Cispo => (0.0, 1.28),
            Reinforce | ReinforcePlusPlus | Ppo | Grpo | DrGrpo => (0.8, 1.2),
        };
        Self {
            kind,
            reward_ddof: 1,
            reward_eps: 1e-6,
            clip_low: Some(clip_low),
            clip_high: Some(clip_high),
            kl: if kind == Grpo { 0.04 } else { 0.0 },
            kl_in: KlIn::Loss,
            aggregate: match kind {
                Reinforce | Grpo | Gspo => Aggregate::SequenceMean,
                DrGrpo => Aggregate::Fixed(1024),
                ReinforcePlusPlus | Ppo | Dapo | Cispo => Aggregate::TokenMean,
            },
        }
    }
}

impl Objective {
    /// FlowRL with the options of a preset.
    #[must_use]
    pub fn preset(preset: Preset) -> Self {
        Self::FlowRl(preset.options())
    }

    /// A baseline with its defaults.
    #[must_use]
    pub fn baseline(kind: BaselineKind) -> Self {
        Self::Baseline(Baseline::new(kind))
    }

    /// `flowrl`, or the baseline's name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::FlowRl(_) => "flowrl",
            Self::Baseline(baseline) => baseline.kind.name(),
        }
    }

    /// Whether `ref_log_probs` must be given.
    #[must_use]
    pub fn needs_reference(&self) -> bool {
        match self {
            Self::FlowRl(_) => true,
            Self::Baseline(baseline) => baseline.kl != 0.0,
        }
    }

    /// Whether `old_log_probs` matter. They may still be absent, which means "on policy".
    #[must_use]
    pub fn needs_old(&self) -> bool {
        match self {
            Self::FlowRl(o) => o.importance != Importance::None || o.token_mask != TokenMask::None,
            Self::Baseline(baseline) => baseline.kind != BaselineKind::Reinforce,
        }
    }

    /// Whether `log_flows` must be given.
    #[must_use]
    pub fn needs_flows(&self) -> bool {
        matches!(self, Self::FlowRl(FlowRl { balance: Balance::SubTrajectory(_) | Balance::Detailed, .. }))
    }

    /// Whether only differences between the rewards of a group count: where all are equal there is nothing to learn from them.
    #[must_use]
    pub fn compares_within_group(&self) -> bool {
        use BaselineKind::{Cispo, Dapo, DrGrpo, Grpo, Gspo, Ppo, Reinforce, ReinforcePlusPlus};
        match self {
            Self::FlowRl(o) => o.reward != Reward::Raw,
            Self::Baseline(baseline) => match baseline.kind {
                Cispo | Dapo | DrGrpo | Grpo | Gspo => true,
                Ppo | Reinforce | ReinforcePlusPlus => false,
            },
        }
    }

    /// Where log Z comes from; `None` for a baseline, which has none.
    #[must_use]
    pub fn log_z(&self) -> Option<LogZ> {
        match self {
            Self::FlowRl(o) => Some(o.log_z),
            Self::Baseline(_) => None,
        }
    }

    /// Whether a value V(x) of each sequence's prompt must be given.
    #[must_use]
    pub fn needs_value(&self) -> bool {
        matches!(self, Self::Baseline(Baseline { kind: BaselineKind::Ppo, .. }))
    }

    /// Checks that every option is in its range. The other methods call it.
    ///
    /// # Errors
    /// [`Error::Option`] names the first option that is not, [`Error::Conflict`] two that exclude each other.
    pub fn validate(&self) -> Result<(), Error> {
        let ensure = |ok: bool, option, got, want| if ok { Ok(()) } else { Err(Error::Option { option, got, want }) };
        let (ddof, eps, low, high) = match self {
            Self::FlowRl(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
            Self::Baseline(o) => (o.reward_ddof, o.reward_eps, o.clip_low, o.clip_high),
        };
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
                let conflicts = [
                    (o.length != Length::Sum, "length", "`\"sum\"`: flows balance sums, not means"),
                    (o.token_mask != TokenMask::None, "token_mask", "`\"none\"`: flows balance whole completions"),
                    (o.shape != Shape::Squared, "shape", "`\"squared\"`"),
                ];
                match conflicts.into_iter().find(|(conflict, ..)| *conflict && self.needs_flows()) {
                    Some((_, option, want)) => Err(Error::Conflict { option, with: "balance", want }),
                    None => Ok(()),
                }
            }
            Self::Baseline(o) => {
                ensure(o.kl.is_finite() && o.kl >= 0.0, "kl", o.kl, "finite and at least 0")?;
                ensure(o.aggregate != Aggregate::Fixed(0), "aggregate", 0.0, "at least 1 where it is fixed")
            }
        }
    }
}

impl Default for Objective {
    fn default() -> Self {
        Self::FlowRl(FlowRl::default())
    }
}
