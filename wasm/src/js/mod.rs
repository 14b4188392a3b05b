//! Bindings for JavaScript, which only convert arguments and results.

mod gradient;
#[cfg(target_arch = "wasm32")]
mod number;
mod race;
mod task;

use wasm_bindgen::prelude::wasm_bindgen;

use crate::{LaneKind, MEASURES};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** The objective of a lane. */
export type LaneKind = "flowrl" | "vargrad" | "normalised" | "published" | "grpo" | "ppo" | "reinforce" | "reward-kl";
/** A ready-made landscape. */
export type PresetName =
  | "four-peaks" | "two-peaks" | "needle" | "ring" | "banana" | "broad-and-sharp" | "plateau" | "deceptive" | "random" | "blind-spot";
/** The rewards of a hypergrid. */
export type HypergridReward = "easy" | "hard" | "torchgfn";
"#;

/// Returns the version of this package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Returns the names of the measures of a lane, in the order of frames and records. The measures are exact, and those
/// with a unit are in nats. A value is NaN if a lane lacks the measure.
#[wasm_bindgen]
pub fn measures() -> Vec<String> {
    MEASURES.map(str::to_owned).into()
}

/// Returns the names of the objectives that a lane can have.
#[wasm_bindgen(js_name = laneKinds, unchecked_return_type = "LaneKind[]")]
pub fn lane_kinds() -> Vec<String> {
    LaneKind::NAMES.iter().map(|&name| name.to_owned()).collect()
}

/// Returns the names of the ready-made landscapes.
#[wasm_bindgen(unchecked_return_type = "PresetName[]")]
pub fn presets() -> Vec<String> {
    flowrl_lab::LandscapePreset::NAMES.iter().map(|&name| name.to_owned()).collect()
}

/// Returns the cosine of the angle between two vectors, or NaN if one of them is 0.
#[wasm_bindgen]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    crate::cosine(a, b)
}
