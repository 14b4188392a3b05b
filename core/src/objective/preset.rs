//! Named sets of options.

use core::str::FromStr;

use super::names::named_enum;
use super::{BaselineKind, Error, FlowRl, Importance, Length, LogZ, Objective, Reward, TokenMask};

named_enum! {
    /// FlowRL as it was published, released and reproduced.
    pub enum Preset ("preset") {
        Paper = "paper": "the FlowRL paper, eq. 6–7 (the default)",
        Official = "official": "the code released with the paper: its clipped weight is computed and never used",
        VerlRecipe = "verl-recipe": "the maintained recipe for verl: weights bounded by 10 from above only",
        VerlPr3924 = "verl-pr3924": "the first recipe for verl: weights in [0.8, 1.28] and the CISPO token mask",
        VarGrad = "vargrad": "log Z from the group: no network to learn",
        Tba = "tba": "Trajectory Balance with Asynchrony: β 1, sums, raw rewards, log Z from the group",
        ExactTb = "exact-tb": "plain trajectory balance: converges to π_ref·exp(r)/Z itself",
    }
}

impl Preset {
    /// The options: the paper's, with this preset's changes.
    #[must_use]
    pub fn options(self) -> FlowRl {
        let paper = FlowRl::default();
        let exact_tb =
            FlowRl { beta: 1.0, length: Length::Sum, reward: Reward::Raw, importance: Importance::None, ..paper };
        match self {
            Self::Paper => paper,
            Self::Official => FlowRl { clip_low: None, clip_high: None, ..paper },
            Self::VerlRecipe => FlowRl { clip_low: None, clip_high: Some(10.0), ..paper },
            Self::VerlPr3924 => FlowRl { clip_high: Some(1.28), token_mask: TokenMask::Cispo, ..paper },
            Self::VarGrad => FlowRl { log_z: LogZ::GroupMean, ..paper },
            Self::Tba => FlowRl { log_z: LogZ::GroupMean, ..exact_tb },
            Self::ExactTb => exact_tb,
        }
    }
}

impl Objective {
    /// Every name that [`FromStr`] takes, except `flowrl` (= `paper`), with one line of help each.
    pub fn named() -> impl Iterator<Item = (&'static str, &'static str)> {
        let presets = Preset::ALL.iter().map(|p| (p.name(), p.description()));
        presets.chain(BaselineKind::ALL.iter().map(|k| (k.name(), k.description())))
    }
}

impl FromStr for Objective {
    type Err = Error;

    /// Takes the name of a [`Preset`], of a [`BaselineKind`], or `flowrl`.
    fn from_str(name: &str) -> Result<Self, Error> {
        const NAMES: &[&str] = &[
            "flowrl",
            "paper",
            "official",
            "verl-recipe",
            "verl-pr3924",
            "vargrad",
            "tba",
            "exact-tb",
            "reinforce",
            "reinforce++",
            "ppo",
            "grpo",
            "dr-grpo",
            "dapo",
            "gspo",
            "cispo",
        ];
        if name == "flowrl" {
            return Ok(Self::default());
        }
        let preset = name.parse().map(Self::preset);
        preset
            .or_else(|_| name.parse().map(Self::baseline))
            .map_err(|_| Error::UnknownName { what: "objective", want: NAMES })
    }
}
