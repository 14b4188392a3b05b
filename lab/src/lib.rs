//! The exact lab: tasks with a known target, small policies, and the exact distance between a policy and its target.
//!
//! | task | graph | objects | shows |
//! |---|---|---|---|
//! | [`Bandit`] | one state | a list of answers | the target itself: two peaks, a needle, a plateau … |
//! | [`Landscape`] | tree | cells of a square, two tokens each | a target that can be drawn and seen |
//! | [`Hypergrid`] | DAG | points of a grid | the GFlowNet benchmark, with a backward policy |
//! | [`Bits`] | tree | bit sequences | planted modes among 2ⁿ |
//! | [`Strings`] | tree | strings of varying length | what length normalisation changes |
//!
//! Each task implements [`Environment`], and any other implementation can take its place. A [`Target`] is the
//! distribution that a policy should converge to. [`terminal`] computes the distribution that a policy has, and
//! [`Target::measure`] compares the two.
//!
//! ```
//! use flowrl_lab::{Environment, Strings, StringsOptions, Target, terminal};
//!
//! let strings = Strings::new(StringsOptions { length: 3, symbols: 2, modes: 2, seed: 7 })?;
//! let target = Target::plain(&strings, 4.0)?;
//!
//! // A policy is a table of log-probabilities, (states, actions). This one is the reference, before any training.
//! let actions = strings.actions();
//! let mut log_pf = vec![f64::NEG_INFINITY; strings.states() * actions];
//! for state in 0..strings.states() {
//!     for action in (0..actions).filter(|&action| strings.step(state, action).is_some()) {
//!         log_pf[state * actions + action] = strings.log_reference(state, action);
//!     }
//! }
//! let mut log_probs = vec![0.0; strings.objects()];
//! terminal(&strings, &log_pf, &mut log_probs)?;
//! let measures = target.measure(&log_probs)?;
//! println!("TV {:.3}, {} of {} modes", measures.tv, measures.modes_found, measures.modes);
//! assert!(measures.tv > 0.1 && measures.kl > 0.0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

mod bandit;
mod bits;
mod environment;
mod error;
mod exact;
mod gradient;
mod hypergrid;
mod landscape;
mod policy;
mod registry;
// At opt-level 0 and 1 rustc reuses the generic instances of upstream crates.
#[cfg(all(feature = "fast", debug_assertions, not(test)))]
#[doc(hidden)]
pub mod shared;
mod task;
mod tree;

pub use bandit::{Bandit, BanditOptions, BanditPreset, BanditReference};
pub use bits::{Bits, BitsOptions};
pub use environment::{Environment, Outcome};
pub use error::{Error, MAX_STATES};
pub use exact::{Measures, Target, lengths, reference, terminal};
pub use gradient::{balance_gradient, divergence_gradient};
pub use hypergrid::{Hypergrid, HypergridOptions, HypergridReward};
pub use landscape::{Landscape, LandscapeOptions, LandscapePreset};
pub use policy::{Backward, HeadOptions, Inputs, LabPolicy, Mlp, MlpOptions, Network, PolicyError, Table};
pub use registry::{Lab, LabKind, LabOptions};
pub use task::{LabTask, Walk, walk};
pub use tree::{Strings, StringsOptions};
