//! Reading an objective from a file: the methods of [`ObjectiveSpec`].

use alloc::vec::Vec;
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{Bound, Error, Objective, ObjectiveSpec, Preset};

impl ObjectiveSpec {
    /// Returns the preset that is named, or the paper's if there is no name.
    ///
    /// # Errors
    /// Returns [`Error::TwoPresets`] if `kind` and `preset` name different presets.
    pub fn base(&self) -> Result<Preset, Error> {
        match (self.preset, self.kind) {
            // `"kind": "flowrl"` may also name the family of a preset.
            (Some(preset), Some(kind)) if preset != kind && !(kind == Preset::Paper && preset.flowrl().is_some()) => {
                Err(Error::TwoPresets { preset: preset.name(), kind: kind.name() })
            }
            (preset, kind) => Ok(preset.or(kind).unwrap_or(Preset::Paper)),
        }
    }

    /// Resolves the objective, with a value for every option.
    ///
    /// # Errors
    /// Returns the errors of [`base`](Self::base), and [`Error::Option`] or [`Error::Conflict`] for options that are
    /// not valid.
    pub fn resolve(&self) -> Result<Objective, Error> {
        let mut objective = Objective::preset(self.base()?);
        self.apply(&mut objective);
        objective.validate()?;
        Ok(objective)
    }

    /// Returns the keys that are set but that the resolved objective does not use. A batch file may have them; in a
    /// configuration they are mistakes.
    pub fn unused(&self) -> Result<Vec<&'static str>, Error> {
        Ok(self.beyond(&Self::of(&self.resolve()?)))
    }
}

/// Sets every option that the objective uses, and no other. The result resolves to an objective that computes the same.
impl From<&Objective> for ObjectiveSpec {
    fn from(objective: &Objective) -> Self {
        let family = if objective.beta().is_some() { Preset::Paper } else { Preset::Grpo };
        let preset = Preset::ALL.iter().find(|preset| Objective::preset(**preset) == *objective).copied();
        Self { preset: Some(preset.unwrap_or(family)), ..Self::of(objective) }
    }
}

/// Deserialises a value that is present, even if it is `null`.
pub(super) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Absent => serializer.serialize_str("none"),
            Self::At(bound) => serializer.serialize_f64(*bound),
        }
    }
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
