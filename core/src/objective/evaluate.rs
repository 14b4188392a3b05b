//! Phase two: loss, gradients and diagnostics, for a batch or for a part of it.

use super::batch::check_length;
use super::{Batch, Diagnostics, Error, Gradients, Objective, Totals, flowrl, policy_gradient};
use crate::Real;

impl Objective {
    /// The loss's share of `batch`, its gradients into `out`, and what happened on the way.
    ///
    /// | gradient (FlowRL, squared) | value |
    /// |---|---|
    /// | ∂ℓ/∂l_t, the same for every token of a sequence | 2wδ / (divisor·B) |
    /// | ∂ℓ/∂log Z | 2wδ / B; 0 where log Z is a constant |
    ///
    /// Where `balance` is over parts of a completion, tokens of a sequence differ in their gradient, and the flows have one:
    /// see [`Balance`](super::Balance).
    ///
    /// Reference, old policy, r̂ and w carry no gradient. `totals` are those of the whole batch, so that the results of parts
    /// (whole groups, if log Z comes from the group) add up to the result of the whole. `order` is scratch, one element
    /// per sequence. An empty completion has no token gradient; δ = log Z − βr̂.
    ///
    /// # Errors
    /// A length that differs, a missing or non-finite input, an option out of range, a weight that overflows without a
    /// bound. `out` is then only partly written.
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

    /// What [`evaluate`](Self::evaluate) checks before it computes: options, lengths, that nothing is missing, and one number for each
    /// sequence. The log-probabilities are not looked at. For devices, which do that themselves.
    ///
    /// # Errors
    /// As [`evaluate`](Self::evaluate).
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
        check_length("order", order.len(), sequences, "sequences")?;
        let (log_flows, entropies) = (batch.log_flows.is_some(), batch.entropies.is_some());
        self.check_given(batch.ref_log_probs.is_some(), batch.log_z.is_some(), log_flows, entropies)?;
        out.validate(self, sequences, batch.offsets[sequences] - batch.offsets[0])?;
        totals.check_part(own)
    }

    /// Checks that the inputs that this objective needs are given.
    ///
    /// # Errors
    /// [`Error::Missing`] names the first that is not.
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
                "this `balance` is over parts of a trajectory; take a policy that learns the flow of every state, or `\"trajectory\"`",
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
    /// Checks that a part of a batch is no larger than the whole.
    ///
    /// # Errors
    /// [`Error::Totals`].
    pub fn check_part(self, part: Self) -> Result<(), Error> {
        for (of, got, part) in [("sequences", self.sequences, part.sequences), ("tokens", self.tokens, part.tokens)] {
            if got < part {
                return Err(Error::Totals { of, got, part });
            }
        }
        Ok(())
    }
}
