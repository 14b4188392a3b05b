//! The exact lab: tasks whose target is known, small policies, and the exact distance between the two.

mod environment;
mod error;
mod hypergrid;
mod policy;

pub use environment::{Environment, Outcome};
pub use error::{Error, MAX_STATES};
pub use hypergrid::{Hypergrid, HypergridOptions, HypergridReward};
pub use policy::{Backward, HeadOptions, Inputs, LabPolicy, Mlp, MlpOptions, Network, PolicyError, Table};
