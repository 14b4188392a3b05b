//! The values that options take.

use super::Totals;
use super::names::named_enum;

/// A bound of a weight or a ratio: a number, or absent (`null` in JSON, `"none"` in TOML, which has no null).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No bound.
    Absent,
    /// A bound.
    At(f64),
}

impl Bound {
    /// The bound, if there is one.
    #[must_use]
    pub const fn get(self) -> Option<f64> {
        match self {
            Self::Absent => None,
            Self::At(bound) => Some(bound),
        }
    }
}

impl From<Option<f64>> for Bound {
    fn from(bound: Option<f64>) -> Self {
        bound.map_or(Self::Absent, Self::At)
    }
}

/// What the sums of log-probabilities are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Length {
    /// T, the sequence's own length. The target becomes π_ref·exp(|y|(βr − c)): see [`crate::exact`].
    Mean,
    /// 1. The target is π_ref·exp(βr)/Z.
    Sum,
    /// n, the same for every sequence.
    Fixed(usize),
}

impl Length {
    /// What the sums of a sequence of `tokens` tokens are divided by.
    #[must_use]
    pub fn divisor(self, tokens: usize) -> f64 {
        match self {
            Self::Mean => tokens.max(1) as f64,
            Self::Sum => 1.0,
            Self::Fixed(n) => n as f64,
        }
    }
}

/// Over which parts of a completion the flows must balance: v_i = v_j for some pairs of positions i < j, where
/// v_t = log F(s_t) − Σ_{k<t} (l_k − l_ref,k), log F(s_0) = log Z and log F at the end is βr̂.
///
/// The loss of a completion is Σ λ^{j−i−1} (v_i − v_j)² / Σ λ^{j−i−1}. Anything but [`Balance::Trajectory`] needs the log-flow
/// log F(s_t) of every state on the way, which the policy learns, sums (`length = "sum"`), no token mask and the squared shape.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
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
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Aggregate {
    /// Mean over the tokens of a sequence, then over sequences.
    SequenceMean,
    /// Mean over all tokens of the batch.
    TokenMean,
    /// Sum over all tokens, divided by B·n.
    Fixed(usize),
}

impl Aggregate {
    /// What a token's term is divided by, in a sequence of `tokens` tokens.
    #[must_use]
    pub fn divisor(self, totals: Totals, tokens: usize) -> f64 {
        match self {
            Self::SequenceMean => totals.sequences as f64 * tokens.max(1) as f64,
            Self::TokenMean => totals.tokens.max(1) as f64,
            Self::Fixed(n) => totals.sequences as f64 * n as f64,
        }
    }
}

/// What a mask does with a sequence. [`Objective::advantages`](super::Objective::advantages) says it, the rest of a step obeys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// It is in the loss.
    #[default]
    In,
    /// It counts as a sequence without tokens.
    Empty,
    /// It does not count at all.
    Out,
}

named_enum! {
    /// How the raw rewards of a prompt's group become r̂. A group of one keeps its raw reward.
    pub enum Reward ("reward shaping") {
        Group = "group": "(r − mean) / (std + reward_eps) within the group; 0 where all rewards are equal",
        Center = "center": "r − mean of the group",
        Raw = "raw": "r as it is",
    }
}

impl Reward {
    /// The same among the advantages.
    pub(super) fn advantage(self) -> Advantage {
        match self {
            Self::Group => Advantage::Group,
            Self::Center => Advantage::Center,
            Self::Raw => Advantage::Raw,
        }
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
        Table = "table": "one learned number for each prompt",
        GroupMean = "group-mean": "the weighted mean of −u over the prompt's group, a constant",
        LeaveOneOut = "leave-one-out": "the same over the other members; 0 for a group of one",
        OldGroupMean = "old-group-mean": "the mean of −u under the policy that sampled, over the prompt's group, a constant",
        Pairwise = "pairwise": "none: residuals of a group are compared in pairs, u_i − u_j",
        Zero = "zero": "0",
        Frozen = "frozen": "a constant of each prompt, passed with each sequence",
        Given = "given": "passed with each sequence",
    }
}

impl LogZ {
    /// Whether log Z is an input: learned, frozen or given.
    #[must_use]
    pub fn is_input(self) -> bool {
        self.has_gradient() || self == Self::Frozen
    }

    /// Whether log Z is an input with a gradient.
    #[must_use]
    pub fn has_gradient(self) -> bool {
        matches!(self, Self::Network | Self::Scalar | Self::Table | Self::Given)
    }

    /// Whether residuals depend on the other members of a group.
    #[must_use]
    pub fn is_of_group(self) -> bool {
        matches!(self, Self::GroupMean | Self::LeaveOneOut | Self::OldGroupMean | Self::Pairwise)
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
    /// Where the KL term of a policy gradient enters. On raw rewards loss and reward have **different optima**.
    ///
    /// [`KlIn::Reward`] is the penalty of the theory: its gradient is that of kl·KL(π ‖ π_ref), so the optimum of the expected
    /// reward is π_ref·exp(r/kl)/Z, FlowRL's target at β = 1/kl. [`KlIn::Loss`] with [`KlEstimator::K3`] differentiates the estimate token by token, as GRPO
    /// does; on policy that is the gradient of KL(π_ref ‖ π) instead, and the optimum is another one: for answers of
    /// one token π_ref·kl/(c − r), c the number that normalises it.
    pub enum KlIn ("KL term") {
        Loss = "loss": "kl times the estimate is added to the loss of each token",
        Reward = "reward": "kl·(L − L_ref), a constant, is taken off the advantage of the sequence",
        RawReward = "raw-reward": "kl·(L_old − L_ref) is taken off the raw reward, before it becomes an advantage",
    }
}

named_enum! {
    /// How a token's KL to the reference is estimated, d = l_ref − l (Schulman, <http://joschu.net/blog/kl-approx.html>). The loss
    /// differentiates what stands here. On policy the gradient of k2 is that of KL(π ‖ π_ref), the gradient of k3 that of
    /// KL(π_ref ‖ π), and the gradient of k1 is 0 on average; with `kl_unbiased` all are that of KL(π ‖ π_ref).
    pub enum KlEstimator ("KL estimator") {
        K1 = "k1": "−d",
        K2 = "k2": "d²/2",
        K3 = "k3": "eᵈ − d − 1, at most kl_max",
    }
}

named_enum! {
    /// How a policy gradient corrects for an engine whose log-probabilities are not those of the policy that it serves: by a weight
    /// w = exp(l_old − l_rollout), without gradient, on the policy term.
    pub enum RolloutCorrection ("rollout correction") {
        None = "none": "w = 1",
        TokenTruncate = "token-truncate": "of each token, moved into rollout_min … rollout_max",
        TokenMask = "token-mask": "of each token, 0 outside rollout_min … rollout_max",
        SequenceTruncate = "sequence-truncate": "of the sequence, the product over its tokens, moved into these bounds",
        SequenceMask = "sequence-mask": "of the sequence, 0 outside these bounds",
    }
}

named_enum! {
    /// How the raw rewards become the advantage A of a policy gradient. Over a group, one of a single member keeps its raw reward.
    pub enum Advantage ("advantage") {
        Raw = "raw": "r as it is",
        Group = "group": "(r − mean) / (std + reward_eps) within the group; 0 where all rewards are equal",
        Center = "center": "r − mean of the group",
        LeaveOneOut = "leave-one-out": "r − mean of the other members of the group",
        GroupBatch = "group-batch": "(r − mean of the group) / (std of all rewards of the batch + reward_eps)",
        Mean = "mean": "(r − mean) / (mean + reward_eps) within the group; 0 where the mean is not above 0, and in a group of one",
        Token = "token": "(r − mean) / √(variance + reward_eps) over the batch, a sequence counted once for each of its tokens",
        CenterToken = "center-token": "r − mean of the group, then as token",
        Batch = "batch": "(r − mean) / (std + reward_eps) over all sequences of the batch",
        BatchCenter = "batch-center": "r − mean of all sequences of the batch",
        Value = "value": "r − V(x), the value that a network gives the prompt",
    }
}

named_enum! {
    /// The ratio π/π_old of a policy gradient, and the term that is made of it.
    pub enum Ratio ("ratio") {
        None = "none": "no ratio: −A log π",
        Token = "token": "of each token, clipped: −min(ρA, clip(ρ)A)",
        Sequence = "sequence": "of the sequence, exp(mean(l − l_old)), clipped in the same way",
        Trajectory = "trajectory": "of the sequence, exp(Σ(l − l_old)), clipped in the same way",
        Detached = "detached": "of each token, clipped and without gradient: −clip(ρ) A log π",
    }
}
