//! FlowRL in the browser: policies that race in lockstep towards a target that is known exactly.
//!
//! All modules except `js` can be tested on any machine; `js` holds the bindings for JavaScript, apart from those of
//! [`RaceOptions`] and [`Explanation`], which have the same fields there. A
//! [`Race`] runs the training loop of `flowrl-core` on its reference arithmetic, so it has the same bits natively and
//! in the browser.

#![allow(unexpected_cfgs, reason = "`named_enum!` asks for the feature `serde`, which this crate lacks")]

pub mod config;
mod error;
mod explain;
mod gradient;
pub mod js;
mod lane;
mod race;

pub use error::Error;
pub use explain::Explanation;
pub use gradient::{GradientBench, cosine};
pub use lane::{LaneKind, LaneOptions, RaceOptions};
pub use race::{MEASURES, MOST_LANES, Race, shared};
