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
mod diagnostics;
mod error;
#[cfg(feature = "alloc")]
mod evaluation;
#[cfg(feature = "serde")]
pub mod file;
mod flowrl;
mod names;
mod options;
mod policy_gradient;
mod preset;
mod requirements;
#[cfg(feature = "serde")]
mod spec;
mod terms;

pub use advantage::{Outcomes, value_loss};
pub use batch::{Batch, Gradients, Totals};
pub use choices::{
    Advantage, Aggregate, Balance, Bound, Importance, KlEstimator, KlIn, Length, LogZ, Mask, Ratio, Reward,
    RolloutCorrection, Shape, TokenMask,
};
pub use diagnostics::{Diagnostics, Measured};
pub use error::Error;
#[cfg(feature = "alloc")]
pub use evaluation::{Evaluation, Sequence};
#[cfg(feature = "serde")]
pub use options::ObjectiveSpec;
pub use options::{FlowRl, OPTIONS, Objective, PolicyGradient};
pub use preset::Preset;

use crate::Real;
use batch::check_len;

impl Objective {
    /// Evaluates `batch`: writes its gradients to `out` and returns its share of the loss with the other diagnostics.
    ///
    /// | gradient (FlowRL, squared) | value |
    /// |---|---|
    /// | ∂ℓ/∂l_t, the same for every token of a sequence | 2wδ / (divisor·B) |
    /// | ∂ℓ/∂log Z | 2wδ / B; 0 if log Z is a constant |
    ///
    /// If `balance` is over parts of a completion, the tokens of a sequence have different gradients, and the flows
    /// have gradients too: see [`Balance`].
    ///
    /// Reference, old policy, r̂ and w carry no gradient. `totals` are those of the whole batch, so that the results of
    /// parts (whole groups, if log Z comes from the group) add up to the result of the whole. `order` is scratch space
    /// with one element per sequence. An empty completion has δ = log Z − βr̂ and no token gradient.
    ///
    /// # Errors
    /// Returns an error if a length differs, an input is missing or not finite, an option is out of range, or an
    /// unbounded weight overflows. `out` is then only partly written.
    pub fn evaluate<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        totals: Totals,
        order: &mut [usize],
        out: &mut Gradients<'_, T>,
    ) -> Result<Diagnostics, Error> {
        self.check_batch(batch, totals, order, out)?;
        match self {
            Self::FlowRl(options) => flowrl::evaluate(options, batch, totals, order, out),
            Self::PolicyGradient(options) => policy_gradient::evaluate(options, batch, totals, out),
        }
    }

    /// Runs the checks that [`evaluate`](Self::evaluate) makes before it computes: options, lengths, missing inputs,
    /// and the values with one number per sequence. This does not look at log-probabilities, which devices check
    /// themselves.
    pub fn check_batch<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        totals: Totals,
        order: &[usize],
        out: &Gradients<'_, T>,
    ) -> Result<(), Error> {
        self.validate()?;
        batch.validate()?;
        let own = batch.totals();
        let sequences = batch.groups.len();
        check_len("order", order.len(), sequences, "sequences")?;
        let (log_flows, entropies) = (batch.log_flows.is_some(), batch.entropies.is_some());
        self.check_given(batch.ref_log_probs.is_some(), batch.log_z.is_some(), log_flows, entropies)?;
        out.validate(self, sequences, batch.offsets[sequences] - batch.offsets[0])?;
        totals.check_part(own)
    }

    /// Checks that the inputs that this objective needs are given. [`Error::Missing`] names the first one that is not.
    pub fn check_given(&self, ref_log_probs: bool, log_z: bool, log_flows: bool, entropies: bool) -> Result<(), Error> {
        let missing = |argument, because| Err(Error::Missing { argument, sequence: None, because });
        match self {
            Self::FlowRl(_) if self.needs_reference() && !ref_log_probs => missing(
                "ref_log_probs",
                "FlowRL compares the policy with its reference; `reference_power = 0` needs none",
            ),
            Self::FlowRl(options) if options.log_z.is_input() && !log_z => {
                missing("log_z", "this estimator takes log Z as an input; `log_z = \"group-mean\"` needs none")
            }
            Self::FlowRl(_) if self.needs_flows() && !log_flows => missing(
                "log_flows",
                "this `balance` is over parts of a trajectory; use a policy that learns the flow of every state, or `balance = \"trajectory\"`",
            ),
            Self::PolicyGradient(options) if options.kl != 0.0 && !ref_log_probs => {
                missing("ref_log_probs", "`kl` is not 0, and its term compares the policy with the reference")
            }
            Self::PolicyGradient(_) if self.needs_entropies() && !entropies => missing(
                "entropies",
                "`entropy` is not 0; give the entropy of the policy's distribution before every token, which its forward pass computes",
            ),
            _ => Ok(()),
        }
    }
}

impl Totals {
    /// Checks that a part of a batch is no larger than the whole; otherwise returns [`Error::Totals`].
    pub fn check_part(self, part: Self) -> Result<(), Error> {
        for (of, got, part) in [("sequences", self.sequences, part.sequences), ("tokens", self.tokens, part.tokens)] {
            if got < part {
                return Err(Error::Totals { of, got, part });
            }
        }
        Ok(())
    }
}
