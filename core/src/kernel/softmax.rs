//! Log-probabilities of chosen tokens, their gradient in place of the logits, and sampling.

use super::{Math, lanes};
use crate::Real;

/// What one row of logits z with scale s = 1/temperature is summarised to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSummary<T> {
    /// max z·s.
    pub max: T,
    /// log Σ exp(z·s − max), 0 or more.
    pub log_total: T,
    /// −Σ p log p.
    pub entropy: T,
}

impl<T: Real> RowSummary<T> {
    /// log Σ exp(z·s).
    #[inline(always)]
    #[must_use]
    pub fn log_sum_exp(&self) -> T {
        self.max + self.log_total
    }

    /// log softmax(z·s) at a logit z·s: the large terms are subtracted first, so that they cancel exactly.
    #[inline(always)]
    #[must_use]
    pub fn log_prob(&self, scaled: T) -> T {
        (scaled - self.max) - self.log_total
    }
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
            weighted[i] += e * finite(z);
        }
    }
    for (i, &z) in rest.iter().enumerate() {
        let z = z * scale - max;
        let e = M::exp(z);
        sums[i] += e;
        weighted[i] += e * finite(z);
    }
    let total = lanes::fold(sums, |a, b| a + b);
    let weighted = lanes::fold(weighted, |a, b| a + b);
    let log_total = total.ln();
    RowSummary { max, log_total, entropy: log_total - weighted / total }
}

/// z, but not −∞: −∞·0 is NaN, and a token that cannot be drawn adds nothing to the entropy.
#[inline(always)]
fn finite<T: Real>(z: T) -> T {
    if z < T::min_value() { T::min_value() } else { z }
}

/// The gradient of c·log p(target) with respect to one row of logits, in place: zⱼ ← c·s·([j = target] − pⱼ).
///
/// 1 − p at the target is the sum of the other probabilities: exact to a few roundings however close p is to 1, where neither
/// 1 − p nor the logarithm of p would be.
#[inline(always)]
pub fn backward<T: Real, M: Math>(logits: &mut [T], target: usize, log_sum_exp: T, scale: T, coefficient: T) {
    gradient::<T, M>(logits, target, log_sum_exp, scale, coefficient * scale, |p, _| p);
}

/// The gradient of c·log p(target) + e·H for the row's entropy H: zⱼ ← c·s·([j = target] − pⱼ) − e·s·pⱼ·(log pⱼ + H).
///
/// The entropy's part adds up to 0 over the row as the other does, so that the target's is again minus the sum of the others.
#[inline(always)]
pub fn backward_with_entropy<T: Real, M: Math>(
    logits: &mut [T],
    target: usize,
    log_sum_exp: T,
    scale: T,
    coefficient: T,
    (entropy, d_entropy): (T, T),
) {
    let at_p = coefficient + d_entropy * entropy;
    // What is multiplied by p = 0 first cannot overflow.
    gradient::<T, M>(logits, target, log_sum_exp, scale, scale, |p, log_p| p * at_p + d_entropy * (p * finite(log_p)));
}

/// zⱼ ← −c·q(pⱼ, log pⱼ), and at the target minus the sum of the others.
#[inline(always)]
fn gradient<T: Real, M: Math>(logits: &mut [T], target: usize, log_sum_exp: T, scale: T, c: T, q: impl Fn(T, T) -> T) {
    logits[target] = T::neg_infinity();
    let mut others = [T::zero(); lanes::LANES];
    let mut chunks = logits.chunks_exact_mut(lanes::LANES);
    for chunk in &mut chunks {
        for i in 0..lanes::LANES {
            let log_p = chunk[i] * scale - log_sum_exp;
            let q = q(M::exp(log_p), log_p);
            others[i] += q;
            chunk[i] = -c * q;
        }
    }
    for (z, sum) in chunks.into_remainder().iter_mut().zip(&mut others) {
        let log_p = *z * scale - log_sum_exp;
        let q = q(M::exp(log_p), log_p);
        *sum += q;
        *z = -c * q;
    }
    logits[target] = c * lanes::fold(others, |a, b| a + b);
}

/// The index that inverse-transform sampling picks: the first i with Σ_{j ≤ i} exp(z_j·s − lse) > u, and the last index with
/// positive probability if rounding leaves the sum short. u in [0, 1).
///
/// Whole blocks are summed first, which vectorises; only the block that crosses u is walked.
#[inline(always)]
pub fn pick<T: Real, M: Math>(logits: &[T], log_sum_exp: T, scale: T, u: T) -> usize {
    const BLOCK: usize = 256;
    let probability = |z: T| M::exp(z * scale - log_sum_exp);
    let (mut before, mut chosen, mut cumulative) = (T::zero(), 0, T::zero());
    for (index, block) in logits.chunks(BLOCK).enumerate() {
        let mass = lanes::reduce(block, T::zero(), probability, |a, b| a + b);
        if mass > T::zero() {
            (chosen, cumulative) = (index * BLOCK, before);
        }
        before += mass;
        if before > u {
            break;
        }
    }
    let mut last = chosen;
    for (i, &z) in logits.iter().enumerate().skip(chosen).take(BLOCK) {
        let p = probability(z);
        if p > T::zero() {
            cumulative += p;
            last = i;
            if cumulative > u {
                break;
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
