//! FlowRL in the browser: policies that race in lockstep towards a target that is known exactly.
//!
//! [`Race`] and what stands beside it are plain Rust, tested on any machine; `js` binds them for JavaScript. Race and page run the
//! training loop of `flowrl-core` on its reference arithmetic, so a race has the same bits here and there.

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
