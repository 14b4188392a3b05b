//! Phase two: loss, gradients and diagnostics, for a batch or for a part of it.

use super::batch::check_length;
use super::{Batch, Diagnostics, Error, Gradients, Objective, Totals, baseline, flowrl};
use crate::Real;

impl Objective {
    /// The loss's share of `batch`, its gradients into `out`, and what happened on the way.
    ///
    /// | gradient (FlowRL, squared) | value |
    /// |---|---|
    /// | ∂ℓ/∂l_t, the same for every token of a sequence | 2wδ / (divisor·B) |
    /// | ∂ℓ/∂log Z | 2wδ / B; 0 where log Z is not an input |
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
        self.validate()?;
        batch.validate()?;
        let own = batch.totals();
        check_length("order", order.len(), own.sequences, "sequences")?;
        out.validate(own.sequences, own.tokens, self.needs_flows())?;
        for (of, got, part) in [("sequences", totals.sequences, own.sequences), ("tokens", totals.tokens, own.tokens)] {
            if got < part {
                return Err(Error::Totals { of, got, part });
            }
        }
        match self {
            Self::FlowRl(options) => flowrl::evaluate(options, batch, totals, order, out),
            Self::Baseline(options) => baseline::evaluate(options, batch, totals, out),
        }
    }
}
