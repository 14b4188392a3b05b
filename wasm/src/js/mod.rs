//! What JavaScript sees. Thin: it converts, and calls.

// JavaScript spells names in its own way, and a getter is no constant function there.
#![allow(clippy::missing_const_for_fn, clippy::must_use_candidate)]

mod inside;
#[cfg(target_arch = "wasm32")]
mod number;
mod race;
mod task;

use wasm_bindgen::prelude::wasm_bindgen;

use crate::{LaneKind, MEASURES};

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** What a lane optimises. */
export type LaneKind = "flowrl" | "vargrad" | "normalised" | "published" | "grpo" | "ppo" | "reinforce" | "reward-kl";
/** A ready-made landscape. */
export type PresetName =
  | "four-peaks" | "two-peaks" | "needle" | "ring" | "banana" | "broad-and-sharp" | "plateau" | "deceptive" | "random" | "blind-spot";
/** The rewards of a hypergrid. */
export type HypergridReward = "easy" | "hard" | "torchgfn";
"#;

/// The version of this package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// What is measured of every lane, in the order of frames and records. Exact, in nats; NaN where there is no such number.
#[wasm_bindgen]
pub fn measures() -> Vec<String> {
    MEASURES.map(str::to_owned).into()
}

/// The names of everything that a lane can optimise.
#[wasm_bindgen(js_name = laneKinds, unchecked_return_type = "LaneKind[]")]
pub fn lane_kinds() -> Vec<String> {
    LaneKind::ALL.map(|kind| kind.name().to_owned()).into()
}

/// The names of the ready-made landscapes.
#[wasm_bindgen(unchecked_return_type = "PresetName[]")]
pub fn presets() -> Vec<String> {
    flowrl_core::lab::LandscapePreset::NAMES.iter().map(|&name| name.to_owned()).collect()
}

/// The cosine of the angle between two vectors of numbers; NaN where one of them is 0.
#[wasm_bindgen]
pub fn cosine(a: &[f64], b: &[f64]) -> f64 {
    crate::cosine(a, b)
}
