//! The types of the options' values.

use super::Totals;
use crate::named_enum;

/// A bound of a weight or a ratio: a number, or absent. A file spells an absent bound `null` in JSON and `"none"` in
/// TOML, which has no null.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// There is no bound.
    Absent,
    /// The bound is this number.
    At(f64),
}

impl Bound {
    /// Returns the bound, if there is one.
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

/// The divisor of the sums of log-probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Length {
    /// T, the sequence's own length. The target becomes π_ref·exp(|y|(βr − c)): see [`crate::exact`].
    Mean,
    /// 1, so that sums stay sums. The target is π_ref·exp(βr)/Z.
    Sum,
    /// n, the same for every sequence.
    Fixed(usize),
}

impl Length {
    /// Returns the divisor for a sequence of `tokens` tokens.
    pub fn divisor(self, tokens: usize) -> f64 {
        match self {
            Self::Mean => tokens.max(1) as f64,
            Self::Sum => 1.0,
            Self::Fixed(n) => n as f64,
        }
    }
}

/// The parts of a completion over which the flows must balance: v_i = v_j for some pairs of positions i < j, with v_t =
/// log F(s_t) − Σ_{k<t} (l_k − l_ref,k), log F(s_0) = log Z, and log F = βr̂ at the end.
///
/// The loss of a completion is Σ λ^{j−i−1} (v_i − v_j)² / Σ λ^{j−i−1}. Every choice but [`Balance::Trajectory`]
/// requires sums (`length = "sum"`), no token mask, the squared shape, and the log-flow log F(s_t) of every state on
/// the way, which the policy learns.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Balance {
    /// The whole completion: trajectory balance (Malkin and others, arXiv 2201.13259). It needs no flow but log Z.
    Trajectory,
    /// Every part, with weight λᵐ⁻¹ for a part of m steps and λ above 0: sub-trajectory balance (Madan and others,
    /// arXiv 2209.12782).
    SubTrajectory(f64),
    /// Every single step: detailed balance (Bengio and others, arXiv 2111.09266), the limit of λ → 0.
    Detailed,
}

impl Balance {
    /// Returns λ, or `None` for trajectory balance.
    pub fn lambda(self) -> Option<f64> {
        match self {
            Self::Trajectory => None,
            Self::SubTrajectory(lambda) => Some(lambda),
            Self::Detailed => Some(0.0),
        }
    }
}

/// How the terms of the tokens become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum Aggregate {
    /// The mean over the tokens of a sequence, then over sequences.
    SequenceMean,
    /// The mean over all tokens of the batch.
    TokenMean,
    /// The sum over all tokens, divided by B·n.
    Fixed(usize),
}

impl Aggregate {
    /// Returns the divisor of a token's term in a sequence of `tokens` tokens.
    pub fn divisor(self, totals: Totals, tokens: usize) -> f64 {
        match self {
            Self::SequenceMean => totals.sequences as f64 * tokens.max(1) as f64,
            Self::TokenMean => totals.tokens.max(1) as f64,
            Self::Fixed(n) => totals.sequences as f64 * n as f64,
        }
    }
}

/// The effect of the masks on a sequence, decided by [`Objective::advantages`](super::Objective::advantages).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mask {
    /// The sequence is in the loss.
    #[default]
    In,
    /// The sequence counts as one without tokens.
    Empty,
    /// The sequence does not count at all.
    Out,
}

named_enum! {
    /// How the raw rewards of a prompt's group become r̂. A group of one keeps its raw reward.
    pub enum Reward ("reward shaping") {
        Group = "group": "(r − mean) / (std + reward_eps) within the group; 0 if all rewards are equal",
        Center = "center": "r − mean of the group",
        Raw = "raw": "r as it is",
    }
}

impl Reward {
    /// Returns the advantage that equals this shaping.
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
    /// The tokens that are left out of every mean and sum of their sequence.
    pub enum TokenMask ("token mask") {
        None = "none": "keep all",
        Cispo = "cispo": "drop tokens that already moved too far in the direction of r̂",
    }
}

named_enum! {
    /// The source of log Z.
    ///
    /// For a fixed policy the best log Z is the w-weighted mean of −u, where u is the residual without log Z.
    /// Group-normalised rewards sum to 0 in every group, so this mean is then minus the mean token log-ratio to the
    /// reference, which is close to 0: a log Z that "does nothing" is correct.
    pub enum LogZ ("log Z estimator") {
        Network = "network": "a network on the prompt's representation",
        Scalar = "scalar": "one learned number",
        Table = "table": "one learned number for each prompt",
        GroupMean = "group-mean": "the weighted mean of −u over the prompt's group, a constant",
        LeaveOneOut = "leave-one-out": "the same over the other members; 0 for a group of one",
        OldGroupMean = "old-group-mean": "the mean of −u under the policy that sampled, over the prompt's group, a constant",
        Pairwise = "pairwise": "none: residuals of a group are compared in pairs, u_i − u_j",
        Zero = "zero": "0",
        Frozen = "frozen": "a constant for each prompt, passed with each sequence",
        Given = "given": "passed with each sequence",
    }
}

impl LogZ {
    /// Returns whether log Z is an input: learned, frozen or given.
    pub fn is_input(self) -> bool {
        self.has_gradient() || self == Self::Frozen
    }

    /// Returns whether log Z is an input with a gradient.
    pub fn has_gradient(self) -> bool {
        matches!(self, Self::Network | Self::Scalar | Self::Table | Self::Given)
    }

    /// Returns whether residuals depend on the other members of a group.
    pub fn is_of_group(self) -> bool {
        matches!(self, Self::GroupMean | Self::LeaveOneOut | Self::OldGroupMean | Self::Pairwise)
    }
}

named_enum! {
    /// The penalty of the residual δ.
    pub enum Shape ("shape") {
        Squared = "squared": "δ²",
        Huber = "huber": "δ² if |δ| ≤ huber_delta, otherwise 2·huber_delta·|δ| − huber_delta²",
    }
}

named_enum! {
    /// The place of a policy gradient's KL term. On raw rewards, `loss` and `reward` have **different optima**.
    ///
    /// [`KlIn::Reward`] is the penalty of the theory: its gradient is that of kl·KL(π ‖ π_ref), so the optimum of the
    /// expected reward is π_ref·exp(r/kl)/Z, FlowRL's target at β = 1/kl. [`KlIn::Loss`] with [`KlEstimator::K3`]
    /// differentiates the estimate token by token, as GRPO does. On policy that is the gradient of KL(π_ref ‖ π), which
    /// has another optimum: for answers of one token it is π_ref·kl/(c − r), with c its normalising constant.
    pub enum KlIn ("KL term") {
        Loss = "loss": "kl times the estimate is added to the loss of each token",
        Reward = "reward": "kl·(L − L_ref), a constant, is subtracted from the advantage of the sequence",
        RawReward = "raw-reward": "kl·(L_old − L_ref) is subtracted from the raw reward before that becomes an advantage",
    }
}

named_enum! {
    /// The estimate of a token's KL to the reference, with d = l_ref − l (Schulman,
    /// <http://joschu.net/blog/kl-approx.html>). The loss differentiates the estimate. On policy the gradient of k2 is
    /// that of KL(π ‖ π_ref), the gradient of k3 is that of KL(π_ref ‖ π), and the gradient of k1 is 0 on average. With
    /// `kl_unbiased` all three are that of KL(π ‖ π_ref).
    pub enum KlEstimator ("KL estimator") {
        K1 = "k1": "−d",
        K2 = "k2": "d²/2",
        K3 = "k3": "eᵈ − d − 1, at most kl_max",
    }
}

named_enum! {
    /// The correction of a policy gradient for an engine whose log-probabilities differ from those of the policy it
    /// serves: a weight w = exp(l_old − l_rollout), without gradient, on the policy term.
    pub enum RolloutCorrection ("rollout correction") {
        None = "none": "w = 1",
        TokenTruncate = "token-truncate": "w of each token, clamped to rollout_min … rollout_max",
        TokenMask = "token-mask": "w of each token, but 0 outside rollout_min … rollout_max",
        SequenceTruncate = "sequence-truncate": "w of the sequence, the product over its tokens, clamped to these bounds",
        SequenceMask = "sequence-mask": "w of the sequence, but 0 outside these bounds",
    }
}

named_enum! {
    /// How the raw rewards become the advantage A of a policy gradient. Advantages over a group, other than `mean`,
    /// leave the raw reward of a group of one unchanged.
    pub enum Advantage ("advantage") {
        Raw = "raw": "r as it is",
        Group = "group": "(r − mean) / (std + reward_eps) within the group; 0 if all rewards are equal",
        Center = "center": "r − mean of the group",
        LeaveOneOut = "leave-one-out": "r − mean of the other members of the group",
        GroupBatch = "group-batch": "(r − mean of the group) / (std of all rewards of the batch + reward_eps)",
        Mean = "mean": "(r − mean) / (mean + reward_eps) within the group; 0 if the mean is not above 0, and in a group of one",
        Token = "token": "(r − mean) / √(variance + reward_eps) over the batch, a sequence counted once for each of its tokens",
        CenterToken = "center-token": "r − mean of the group, then as token",
        Batch = "batch": "(r − mean) / (std + reward_eps) over all sequences of the batch",
        BatchCenter = "batch-center": "r − mean of all sequences of the batch",
        Value = "value": "r − V(x), the value that a network gives the prompt",
    }
}

named_enum! {
    /// The ratio π/π_old of a policy gradient, and the term that uses it.
    pub enum Ratio ("ratio") {
        None = "none": "no ratio: −A log π",
        Token = "token": "of each token, clipped: −min(ρA, clip(ρ)A)",
        Sequence = "sequence": "of the sequence, exp(mean(l − l_old)), clipped in the same way",
        Trajectory = "trajectory": "of the sequence, exp(Σ(l − l_old)), clipped in the same way",
        Detached = "detached": "of each token, clipped and without gradient: −clip(ρ) A log π",
    }
}
