//! The objectives: batch of log-probabilities, rewards and groups in; loss, gradient and diagnostics out.

mod batch;

pub use batch::{Batch, Gradients};
