//! The transformer policy of flowrl: forward, backward and generation on Hugging Face checkpoints.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod backend;
mod cpu;
pub mod kernel;
pub mod model;
