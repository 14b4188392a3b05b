//! Named sets of options, with one row for each objective that was published, released or reproduced.

use core::str::FromStr;

use super::{
    Advantage, Aggregate, Error, FlowRl, Importance, KlIn, Length, LogZ, Objective, PolicyGradient, Ratio, Reward,
    Shape, TokenMask,
};
use crate::named_enum;

macro_rules! presets {
    ($( $variant:ident = $name:literal $(or $alias:literal)?: $help:literal, $options:expr; )+) => {
        named_enum! {
            /// The name of an objective.
            pub enum Preset ("objective") { $( $variant = $name $(or $alias)?: $help, )+ }
        }

        impl Objective {
            /// Returns the objective with the options of a preset.
            pub fn preset(preset: Preset) -> Self {
                match preset { $( Preset::$variant => Self::from($options), )+ }
            }
        }
    };
}

/// Returns the paper's FlowRL, which the rows below modify.
fn paper() -> FlowRl {
    FlowRl::default()
}

/// Returns the options that both forms of GFlowRL share.
fn gflowrl() -> FlowRl {
    let constant = paper().with_beta(8.0).with_reward(Reward::Raw).with_log_z(LogZ::OldGroupMean).with_clip_low(None);
    constant.with_residual_clip_low(Some(0.2)).with_residual_clip_high(Some(0.28))
}

/// Returns the policy gradient that the rows below modify.
fn gradient() -> PolicyGradient {
    PolicyGradient::default()
}

presets! {
    Paper = "paper" or "flowrl": "the FlowRL paper, eq. 6–7 (the default)", paper();
    Official = "official": "the code released with the paper: its clipped weight is computed but never used",
        paper().with_clip_low(None).with_clip_high(None);
    VerlRecipe = "verl-recipe": "the maintained recipe for verl: weights bounded by 10 from above only",
        paper().with_clip_low(None).with_clip_high(Some(10.0));
    VerlPr3924 = "verl-pr3924": "the first recipe for verl: weights in [0.8, 1.28] and the CISPO token mask",
        paper().with_clip_high(Some(1.28)).with_token_mask(TokenMask::Cispo);
    VarGrad = "vargrad": "log Z from the group: no network to learn", paper().with_log_z(LogZ::GroupMean);
    Tba = "tba": "Trajectory Balance with Asynchrony: β 1, sums, raw rewards, log Z from the group",
        FlowRl::exact_tb().with_log_z(LogZ::GroupMean);
    ExactTb = "exact-tb": "plain trajectory balance: converges to π_ref·exp(r)/Z itself", FlowRl::exact_tb();
    Gflowrl = "gflowrl": "GFlowRL: log Z from the group at sampling time, residuals bounded by −0.2 and 0.28, both computed from means",
        gflowrl().with_length(Length::Mean).with_importance(Importance::Geometric).with_clip_high(Some(2.0))
            .with_mask_degenerate(true);
    GflowrlSum = "gflowrl-sum": "the same with sums: its target does not depend on lengths",
        gflowrl().with_length(Length::Sum).with_importance(Importance::Sequence).with_clip_high(Some(1.2));
    PowerFlow = "powerflow": "PowerFlow: sharpens the reference itself, π_ref⁴ for each token; its ε was not found, so the clip of 0.8 to 1.2 is FlowRL's",
        paper().with_beta(4.0).with_reward(Reward::Raw).with_reference_power(4.0);
    StableGfn = "stable-gfn": "Stable-GFlowNet: compares answers in pairs, except those of nearly equal reward; no reference",
        FlowRl::exact_tb().with_log_z(LogZ::Pairwise).with_pair_gap(0.5).with_shape(Shape::Huber).with_reference_power(0.0);
    Reinforce = "reinforce": "REINFORCE with the batch mean as baseline",
        gradient().with_advantage(Advantage::BatchCenter).with_ratio(Ratio::None);
    ReinforcePlusPlus = "reinforce++": "batch-normalised rewards, clipped ratio per token",
        gradient().with_advantage(Advantage::Batch).with_aggregate(Aggregate::TokenMean);
    ReinforcePlusPlusVerl = "reinforce++-verl": "REINFORCE++ as in verl and OpenRLHF: rewards whitened over tokens, dual clip",
        gradient().with_advantage(Advantage::Token).with_reward_eps(1e-8).with_dual_clip(Some(3.0))
            .with_aggregate(Aggregate::TokenMean);
    ReinforcePlusPlusBaselineVerl = "reinforce++-baseline-verl": "the same after the group's mean is subtracted",
        gradient().with_advantage(Advantage::CenterToken).with_reward_eps(1e-8).with_dual_clip(Some(3.0))
            .with_aggregate(Aggregate::TokenMean);
    Rloo = "rloo": "REINFORCE with the mean of the other answers as baseline, KL subtracted from the reward, one clipped ratio per answer",
        gradient().with_advantage(Advantage::LeaveOneOut).with_ratio(Ratio::Trajectory).with_kl(0.05)
            .with_kl_in(KlIn::RawReward);
    Ppo = "ppo": "clipped ratio per token, a value network as baseline",
        gradient().with_advantage(Advantage::Value).with_aggregate(Aggregate::TokenMean);
    Grpo = "grpo": "group-normalised rewards, clipped ratio per token, KL to the reference",
        gradient().with_kl(0.04).with_kl_in(KlIn::Loss);
    GrpoVerl = "grpo-verl": "GRPO as in verl's examples: dual clip, a mean over all tokens, a small and bounded KL",
        gradient().with_kl(0.001).with_kl_max(Some(10.0)).with_dual_clip(Some(3.0)).with_aggregate(Aggregate::TokenMean);
    MaxRl = "maxrl": "rewards relative to their group's mean: maximum likelihood of a right answer",
        gradient().with_advantage(Advantage::Mean).with_aggregate(Aggregate::TokenMean);
    DrGrpo = "dr-grpo": "GRPO without the divisions by standard deviation and by length; divides by 1024, set it to the longest completion",
        gradient().with_advantage(Advantage::Center).with_aggregate(Aggregate::Fixed(1024));
    Dapo = "dapo": "GRPO with asymmetric clipping and a mean over all tokens",
        gradient().with_clip_high(Some(1.28)).with_aggregate(Aggregate::TokenMean);
    Gspo = "gspo": "one length-normalised ratio per sequence, clipped",
        gradient().with_ratio(Ratio::Sequence).with_clip_low(Some(1.0 - 3e-4)).with_clip_high(Some(1.0 + 4e-4));
    Cispo = "cispo": "clipped and detached ratio times log-probability",
        gradient().with_ratio(Ratio::Detached).with_clip_low(Some(0.0)).with_clip_high(Some(1.28))
            .with_aggregate(Aggregate::TokenMean);
}

impl Preset {
    /// Returns the options if this is a preset of FlowRL.
    pub fn flowrl(self) -> Option<FlowRl> {
        match Objective::preset(self) {
            Objective::FlowRl(options) => Some(options),
            Objective::PolicyGradient(_) => None,
        }
    }

    /// Returns the options if this is a preset of a policy gradient.
    pub fn policy_gradient(self) -> Option<PolicyGradient> {
        match Objective::preset(self) {
            Objective::FlowRl(_) => None,
            Objective::PolicyGradient(options) => Some(options),
        }
    }
}

impl FlowRl {
    /// Returns plain trajectory balance, which converges to π_ref·exp(r)/Z itself.
    pub fn exact_tb() -> Self {
        let plain = Self::default().with_beta(1.0).with_length(Length::Sum);
        plain.with_reward(Reward::Raw).with_importance(Importance::None)
    }
}

impl FromStr for Objective {
    type Err = Error;

    /// Parses the name of a [`Preset`]; `flowrl` means `paper`.
    fn from_str(name: &str) -> Result<Self, Error> {
        name.parse().map(Self::preset)
    }
}
