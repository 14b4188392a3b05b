//! The exact lab: tasks whose target is known, small policies, and the exact distance between the two.

mod environment;

pub use environment::{Environment, Outcome};
