//! Log-probabilities of chosen tokens, their gradient in place of the logits, and sampling.

use super::{Math, lanes};
use crate::Real;

/// log Σ exp(z·s) and the entropy of softmax(z·s), over one row of logits z with scale s = 1/temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSummary<T> {
    /// log Σ exp(z·s).
    pub log_sum_exp: T,
    /// −Σ p log p.
    pub entropy: T,
}

/// Summarises one row of logits: a pass for the maximum, a pass for the sums.
///
/// A NaN or an infinite maximum comes out as a NaN.
#[inline(always)]
pub fn summarize<T: Real, M: Math>(logits: &[T], scale: T) -> RowSummary<T> {
    let max = lanes::max(logits) * scale;
    let mut sums = [T::zero(); lanes::LANES];
    let mut weighted = [T::zero(); lanes::LANES];
    let chunks = logits.chunks_exact(lanes::LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..lanes::LANES {
            let z = chunk[i] * scale - max;
            let e = M::exp(z);
            sums[i] += e;
            // −∞·0 is NaN; a token that cannot be drawn adds nothing to the entropy.
            weighted[i] += if e > T::zero() { e * z } else { T::zero() };
        }
    }
    for (i, &z) in rest.iter().enumerate() {
        let z = z * scale - max;
        let e = M::exp(z);
        sums[i] += e;
        weighted[i] += if e > T::zero() { e * z } else { T::zero() };
    }
    let total = lanes::fold(sums, |a, b| a + b);
    let weighted = lanes::fold(weighted, |a, b| a + b);
    let log_total = total.ln();
    RowSummary { log_sum_exp: max + log_total, entropy: log_total - weighted / total }
}

/// The gradient of c·log p(target) with respect to one row of logits, in place: zⱼ ← c·s·([j = target] − pⱼ).
///
/// (1 − p) at the target is formed from the other probabilities' sum being 1 − p only through exp, in working precision.
#[inline(always)]
pub fn backward<T: Real, M: Math>(logits: &mut [T], target: usize, log_sum_exp: T, scale: T, coefficient: T) {
    let c = coefficient * scale;
    // 1 − p without cancellation for a confident target.
    let at_target = -(logits[target] * scale - log_sum_exp).exp_m1() * c;
    for z in logits.iter_mut() {
        *z = -c * M::exp(*z * scale - log_sum_exp);
    }
    logits[target] = at_target;
}

/// The index that inverse-transform sampling picks: the first i with Σ_{j ≤ i} exp(z_j·s − lse) > u, and the last index with
/// positive probability if rounding leaves the sum short. u in [0, 1).
#[inline(always)]
pub fn pick<T: Real, M: Math>(logits: &[T], log_sum_exp: T, scale: T, u: T) -> usize {
    let mut cumulative = T::zero();
    let mut last = 0;
    for (i, &z) in logits.iter().enumerate() {
        let p = M::exp(z * scale - log_sum_exp);
        if p > T::zero() {
            cumulative += p;
            last = i;
            if cumulative > u {
                return i;
            }
        }
    }
    last
}

/// The index of the largest logit, the lowest index on a tie.
#[inline(always)]
pub fn argmax<T: Real>(logits: &[T]) -> usize {
    let mut best = 0;
    for (i, &z) in logits.iter().enumerate() {
        if z > logits[best] {
            best = i;
        }
    }
    best
}
