//! Stretching of the rotary embedding to longer contexts.

use serde_json::Value;

use super::keys::Keys;
use crate::error::Result;

/// How the inverse frequencies f of the rotary embedding are changed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum RopeScaling {
    /// f is left as it is.
    #[default]
    Default,
    /// f / factor for all frequencies.
    Linear {
        /// The factor by which every wavelength is stretched.
        factor: f64,
    },
    /// Llama 3.1: f / factor for wavelengths above `original / low`, f below `original / high`, and a linear
    /// blend in the number of turns between them.
    Llama3 {
        /// The factor by which long wavelengths are stretched.
        factor: f64,
        /// Turns within the original context below which a frequency is stretched in full.
        low_freq_factor: f64,
        /// Turns within the original context above which a frequency is left as it is.
        high_freq_factor: f64,
        /// The context length that the model was first trained on.
        original_max_position_embeddings: f64,
    },
}

impl RopeScaling {
    /// Returns the inverse frequency changed by this scaling.
    pub fn apply(self, frequency: f64) -> f64 {
        match self {
            Self::Default => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let turns = original_max_position_embeddings * frequency / std::f64::consts::TAU;
                let kept = if high_freq_factor > low_freq_factor {
                    ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0)
                } else {
                    f64::from(u8::from(turns > high_freq_factor))
                };
                kept * frequency + (1.0 - kept) * frequency / factor
            }
        }
    }
}

/// Reads base and scaling from `rope_parameters`, or from `rope_theta` and `rope_scaling`. A `rope_scaling` replaces
/// `rope_parameters`, because model cards tell people to add it by hand to files that already have the other.
pub(super) fn parse(keys: &Keys<'_>) -> Result<(f64, RopeScaling)> {
    let default_theta = keys.positive("rope_theta", Some(10_000.0))?;
    let scaling = keys.get("rope_scaling").filter(|value| value.as_object().is_none_or(|map| !map.is_empty()));
    let (name, prefix) = match scaling {
        Some(_) => ("rope_scaling", "rope_scaling."),
        None => ("rope_parameters", "rope_parameters."),
    };
    // transformers forgets the base in the object that is replaced, which would give the numbers of another model.
    if let (Some(scaling), Some(replaced)) = (scaling, keys.get("rope_parameters")) {
        let forgotten = replaced["rope_theta"].as_f64().filter(|theta| *theta != default_theta);
        if let (Some(theta), None) = (forgotten, scaling["rope_theta"].as_f64()) {
            let wanted = format!(
                "to be inside `rope_parameters`, or to repeat its `rope_theta` of {theta}, which is lost otherwise"
            );
            return Err(keys.error("rope_scaling", &wanted));
        }
    }
    let Some(value) = keys.get(name) else { return Ok((default_theta, RopeScaling::Default)) };
    let map = value.as_object().ok_or_else(|| keys.error(name, "an object"))?;
    // As in transformers, a value outside the object takes precedence over one inside it, and the context
    // length is the default.
    let number = |key: &str| keys.get(key).and_then(Value::as_f64);
    let (beside, context) = (number("original_max_position_embeddings"), number("max_position_embeddings"));
    let keys = &keys.within(map, prefix);
    let theta = keys.positive("rope_theta", Some(default_theta))?;
    let kind = if keys.get("rope_type").is_some() { "rope_type" } else { "type" };
    let scaling = match keys.text(kind)? {
        None | Some("default") => RopeScaling::Default,
        Some("linear") => RopeScaling::Linear { factor: keys.positive("factor", None)? },
        Some("llama3") => llama3(keys, beside, context)?,
        Some(_) => return Err(keys.error(kind, "\"default\", \"linear\" or \"llama3\"")),
    };
    Ok((theta, scaling))
}

fn llama3(keys: &Keys<'_>, beside: Option<f64>, context: Option<f64>) -> Result<RopeScaling> {
    let low_freq_factor = keys.positive("low_freq_factor", None)?;
    let high_freq_factor = keys.positive("high_freq_factor", None)?;
    if high_freq_factor < low_freq_factor {
        return Err(keys.error("high_freq_factor", &format!("at least low_freq_factor ({low_freq_factor})")));
    }
    Ok(RopeScaling::Llama3 {
        factor: keys.positive("factor", None)?,
        low_freq_factor,
        high_freq_factor,
        original_max_position_embeddings: match beside.filter(|original| *original > 0.0) {
            Some(original) => original,
            None => keys.positive("original_max_position_embeddings", context)?,
        },
    })
}
