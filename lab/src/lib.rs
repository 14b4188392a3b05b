#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
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
