//! The objectives. They take log-probabilities, rewards and groups, and compute loss, gradient and diagnostics.
//!
//! ```
//! use flowrl_core::objective::{Objective, Preset, Sequence};
//!
//! // Two answers to one prompt: token log-probabilities of the policy and of its frozen reference.
//! let right = Sequence { reward: 1.0, log_probs: &[-0.7, -1.2], ref_log_probs: Some(&[-0.8, -1.1]), ..Sequence::default() };
//! let wrong = Sequence { reward: 0.0, log_probs: &[-0.4], ref_log_probs: Some(&[-0.5]), ..Sequence::default() };
//!
//! let step = Objective::preset(Preset::VarGrad).compute(&[right, wrong])?;
//! println!("loss {:.3}, residuals {:?}", step.loss, step.residuals);
//! // The gradient to send back through the policy: ∂loss/∂log π of every token. Descending makes the right answer likelier.
//! assert!(step.d_log_probs(0)[0] < 0.0 && step.d_log_probs(1)[0] > 0.0);
//! # Ok::<(), flowrl_core::objective::Error>(())
//! ```
//!
//! A trainer packs its own batch and keeps its own buffers. It calls the two phases itself, and may call the second one
//! for parts of the batch if memory is short:
//!
//! 1. [`Objective::advantages`]: raw rewards of the whole batch become r̂ or A, and masks say which sequences stay in.
//! 2. [`Objective::evaluate`]: loss, gradients and [`Diagnostics`] of a [`Batch`], divided by the [`Totals`] of the whole.
//!
//! The loss is never differentiated through the sampler. With the samples held fixed and on policy (w = 1, sums), the
//! gradient of FlowRL is exactly 2∇KL(π ‖ π*), for any log Z. Inputs and outputs are `f32` or `f64`; all arithmetic
//! between them is in double precision and in a fixed order, so the result depends on the values alone.

mod advantage;
mod balance;
mod batch;
mod choices;
mod clip;
mod diagnostics;
mod error;
mod evaluate;
#[cfg(feature = "alloc")]
mod evaluation;
#[cfg(feature = "serde")]
pub mod file;
mod flowrl;
mod groups;
mod measured;
mod names;
mod options;
mod policy_gradient;
mod preset;
mod requirements;
#[cfg(feature = "serde")]
mod spec;
mod tokens;

pub use advantage::{Outcomes, value_loss};
pub use batch::{Batch, Gradients, Totals};
pub use choices::{
    Advantage, Aggregate, Balance, Bound, Importance, KlEstimator, KlIn, Length, LogZ, Mask, Ratio, Reward,
    RolloutCorrection, Shape, TokenMask,
};
pub use diagnostics::Diagnostics;
pub use error::Error;
#[cfg(feature = "alloc")]
pub use evaluation::{Evaluation, Sequence};
pub use measured::Measured;
#[cfg(feature = "serde")]
pub use options::ObjectiveSpec;
pub use options::{FlowRl, OPTIONS, Objective, PolicyGradient};
pub use preset::Preset;
