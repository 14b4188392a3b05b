//! The options of an objective as they are written in a file: every key optional.

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::names::named_enum;
use super::{
    Aggregate, Balance, Baseline, BaselineKind, Error, FlowRl, Importance, Length, LogZ, Objective, Preset, Reward,
    Shape, TokenMask,
};

named_enum! {
    /// FlowRL or one of the [`BaselineKind`]s.
    pub enum Kind ("kind") {
        FlowRl = "flowrl": "FlowRL, with the options of a preset (the default)",
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

impl Kind {
    /// The baseline of this name; `None` for FlowRL.
    #[must_use]
    pub fn baseline(self) -> Option<BaselineKind> {
        self.name().parse().ok()
    }
}

/// A bound of the importance weight in a file: a number, or absent (`null` in JSON, `"none"` in TOML, which has no null).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// No bound.
    Absent,
    /// A bound.
    At(f64),
}

/// The options of an objective in a configuration or batch file. What is not set comes from `preset`, or from the defaults of
/// `kind`.
///
/// ```
/// use flowrl_core::objective::{Objective, ObjectiveSpec};
/// let spec: ObjectiveSpec = serde_json::from_str(r#"{"preset": "verl-recipe", "beta": 5, "length": {"fixed": 32}}"#)?;
/// let Objective::FlowRl(options) = spec.resolve()? else { unreachable!() };
/// assert_eq!((options.beta, options.clip_low, options.clip_high), (5.0, None, Some(10.0)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(missing_docs, reason = "each field is the option of the same name in FlowRl or Baseline")]
pub struct ObjectiveSpec {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<Length>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward: Option<Reward>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_ddof: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reward_eps: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub importance: Option<Importance>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "bound")]
    pub clip_low: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "bound")]
    pub clip_high: Option<Bound>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_mask: Option<TokenMask>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_clip_low: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_clip_high: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_z: Option<LogZ>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shape: Option<Shape>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huber_delta: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kl: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregate: Option<Aggregate>,
}

impl ObjectiveSpec {
    /// The objective with every option known.
    ///
    /// # Errors
    /// [`Error::PresetOfBaseline`] for a preset beside a baseline, [`Error::Option`] for a value out of range.
    pub fn resolve(&self) -> Result<Objective, Error> {
        let objective = match self.kind.unwrap_or(Kind::FlowRl).baseline() {
            Some(kind) => {
                if let Some(preset) = self.preset {
                    return Err(Error::PresetOfBaseline { preset: preset.name(), kind: kind.name() });
                }
                Objective::Baseline(self.baseline(Baseline::new(kind)))
            }
            None => Objective::FlowRl(self.flowrl(self.preset.unwrap_or(Preset::Paper).options())),
        };
        objective.validate()?;
        Ok(objective)
    }

    /// The keys that are set but that the resolved objective does not use. A batch file may have them; in a configuration
    /// they are mistakes.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn unused(&self) -> Result<Vec<&'static str>, Error> {
        let used = Self::from(&self.resolve()?);
        let keys = [
            ("beta", self.beta.is_some(), used.beta.is_some()),
            ("balance", self.balance.is_some(), used.balance.is_some()),
            ("length", self.length.is_some(), used.length.is_some()),
            ("reward", self.reward.is_some(), used.reward.is_some()),
            ("reward_ddof", self.reward_ddof.is_some(), used.reward_ddof.is_some()),
            ("reward_eps", self.reward_eps.is_some(), used.reward_eps.is_some()),
            ("importance", self.importance.is_some(), used.importance.is_some()),
            ("clip_low", self.clip_low.is_some(), used.clip_low.is_some()),
            ("clip_high", self.clip_high.is_some(), used.clip_high.is_some()),
            ("token_mask", self.token_mask.is_some(), used.token_mask.is_some()),
            ("token_clip_low", self.token_clip_low.is_some(), used.token_clip_low.is_some()),
            ("token_clip_high", self.token_clip_high.is_some(), used.token_clip_high.is_some()),
            ("log_z", self.log_z.is_some(), used.log_z.is_some()),
            ("shape", self.shape.is_some(), used.shape.is_some()),
            ("huber_delta", self.huber_delta.is_some(), used.huber_delta.is_some()),
            ("kl", self.kl.is_some(), used.kl.is_some()),
            ("aggregate", self.aggregate.is_some(), used.aggregate.is_some()),
        ];
        Ok(keys.into_iter().filter(|&(_, set, used)| set && !used).map(|(key, ..)| key).collect())
    }

    fn flowrl(&self, base: FlowRl) -> FlowRl {
        FlowRl {
            beta: self.beta.unwrap_or(base.beta),
            balance: self.balance.unwrap_or(base.balance),
            length: self.length.unwrap_or(base.length),
            reward: self.reward.unwrap_or(base.reward),
            reward_ddof: self.reward_ddof.unwrap_or(base.reward_ddof),
            reward_eps: self.reward_eps.unwrap_or(base.reward_eps),
            importance: self.importance.unwrap_or(base.importance),
            clip_low: self.clip_low.map_or(base.clip_low, Bound::get),
            clip_high: self.clip_high.map_or(base.clip_high, Bound::get),
            token_mask: self.token_mask.unwrap_or(base.token_mask),
            token_clip_low: self.token_clip_low.unwrap_or(base.token_clip_low),
            token_clip_high: self.token_clip_high.unwrap_or(base.token_clip_high),
            log_z: self.log_z.unwrap_or(base.log_z),
            shape: self.shape.unwrap_or(base.shape),
            huber_delta: self.huber_delta.unwrap_or(base.huber_delta),
        }
    }

    fn baseline(&self, base: Baseline) -> Baseline {
        Baseline {
            kind: base.kind,
            reward_ddof: self.reward_ddof.unwrap_or(base.reward_ddof),
            reward_eps: self.reward_eps.unwrap_or(base.reward_eps),
            clip_low: self.clip_low.map_or(base.clip_low, Bound::get),
            clip_high: self.clip_high.map_or(base.clip_high, Bound::get),
            kl: self.kl.unwrap_or(base.kl),
            aggregate: self.aggregate.unwrap_or(base.aggregate),
        }
    }
}

/// Every option that the objective uses, and no other: it resolves to an objective that computes the same.
impl From<&Objective> for ObjectiveSpec {
    fn from(objective: &Objective) -> Self {
        match objective {
            Objective::FlowRl(o) => {
                let normalises = o.reward == Reward::Group;
                let weighs = o.importance != Importance::None;
                let masks = o.token_mask != TokenMask::None;
                Self {
                    kind: Some(Kind::FlowRl),
                    beta: Some(o.beta),
                    balance: Some(o.balance),
                    length: Some(o.length),
                    reward: Some(o.reward),
                    reward_ddof: normalises.then_some(o.reward_ddof),
                    reward_eps: normalises.then_some(o.reward_eps),
                    importance: Some(o.importance),
                    clip_low: weighs.then_some(Bound::from(o.clip_low)),
                    clip_high: weighs.then_some(Bound::from(o.clip_high)),
                    token_mask: Some(o.token_mask),
                    token_clip_low: masks.then_some(o.token_clip_low),
                    token_clip_high: masks.then_some(o.token_clip_high),
                    log_z: Some(o.log_z),
                    shape: Some(o.shape),
                    huber_delta: (o.shape == Shape::Huber).then_some(o.huber_delta),
                    ..Self::default()
                }
            }
            Objective::Baseline(o) => {
                use BaselineKind::{DrGrpo, Ppo, Reinforce};
                let normalises = !matches!(o.kind, Reinforce | DrGrpo | Ppo);
                let clips = o.kind != Reinforce;
                Self {
                    kind: o.kind.name().parse().ok(),
                    reward_ddof: normalises.then_some(o.reward_ddof),
                    reward_eps: normalises.then_some(o.reward_eps),
                    clip_low: clips.then_some(Bound::from(o.clip_low)),
                    clip_high: clips.then_some(Bound::from(o.clip_high)),
                    kl: Some(o.kl),
                    aggregate: Some(o.aggregate),
                    ..Self::default()
                }
            }
        }
    }
}

impl Bound {
    fn get(self) -> Option<f64> {
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

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_str("none"),
            Self::At(bound) => serializer.serialize_f64(*bound),
        }
    }
}

/// A key that is present is `Some`, also where its value is null: that is an absent bound, not an absent key.
fn bound<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Bound>, D::Error> {
    Bound::deserialize(deserializer).map(Some)
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor)
    }
}

struct BoundVisitor;

impl de::Visitor<'_> for BoundVisitor {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, null or \"none\"")
    }

    fn visit_f64<E: de::Error>(self, bound: f64) -> Result<Bound, E> {
        Ok(Bound::At(bound))
    }

    fn visit_u64<E: de::Error>(self, bound: u64) -> Result<Bound, E> {
        Ok(Bound::At(bound as f64))
    }

    fn visit_i64<E: de::Error>(self, bound: i64) -> Result<Bound, E> {
        Ok(Bound::At(bound as f64))
    }

    fn visit_unit<E: de::Error>(self) -> Result<Bound, E> {
        Ok(Bound::Absent)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Bound, E> {
        if text == "none" { Ok(Bound::Absent) } else { Err(E::invalid_value(de::Unexpected::Str(text), &self)) }
    }
}
