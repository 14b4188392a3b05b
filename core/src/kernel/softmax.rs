//! Log-probabilities of chosen tokens, their gradient in place of the logits, and sampling.

use super::{Math, lanes};
use crate::Real;

/// Summary of one row of logits z with scale s = 1/temperature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSummary<T> {
    /// max z·s, the largest scaled logit.
    pub max: T,
    /// log Σ exp(z·s − max), which is 0 or more.
    pub log_total: T,
    /// Entropy −Σ p log p of the softmax.
    pub entropy: T,
}

impl<T: Real> RowSummary<T> {
    /// Returns log Σ exp(z·s).
    #[inline(always)]
    pub fn log_sum_exp(&self) -> T {
        self.max + self.log_total
    }

    /// Returns log softmax(z·s) at a scaled logit z·s. The large terms are subtracted first, so that they cancel
    /// exactly.
    #[inline(always)]
    pub fn log_prob(&self, scaled: T) -> T {
        (scaled - self.max) - self.log_total
    }
}

/// Summarises one row of logits, in one pass for the maximum and one for the sums.
///
/// If the row holds a NaN or its maximum is infinite, the results are NaN.
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

/// Replaces −∞ by the smallest finite number: −∞·0 is NaN, but a token that cannot be drawn must not change the
/// entropy.
#[inline(always)]
fn finite<T: Real>(z: T) -> T {
    if z < T::min_value() { T::min_value() } else { z }
}

/// Replaces one row of logits by the gradient of c·log p(target) with respect to it: zⱼ ← c·s·([j = target] − pⱼ).
///
/// At the target, 1 − p is computed as the sum of the other probabilities. This is exact to a few roundings however
/// close p is to 1, which neither 1 − p nor the logarithm of p would be.
#[inline(always)]
pub fn backward<T: Real, M: Math>(logits: &mut [T], target: usize, log_sum_exp: T, scale: T, coefficient: T) {
    gradient::<T, M>(logits, target, log_sum_exp, scale, coefficient * scale, |p, _| p);
}

/// Replaces one row of logits by the gradient of c·log p(target) + e·H, with H the row's entropy: zⱼ ← c·s·([j =
/// target] − pⱼ) − e·s·pⱼ·(log pⱼ + H).
///
/// The entropy's part adds up to 0 over the row, as the other part does, so the target's element is again minus the sum
/// of the others.
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
    // Multiplying by p = 0 first keeps this product from overflowing.
    gradient::<T, M>(logits, target, log_sum_exp, scale, scale, |p, log_p| p * at_p + d_entropy * (p * finite(log_p)));
}

/// Computes zⱼ ← −c·q(pⱼ, log pⱼ), and at the target minus the sum of the others.
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

/// Returns the index that inverse-transform sampling picks for u in [0, 1). This is the first i with u < Σ_{j ≤ i}
/// exp(z_j·s − lse), or the last index with positive probability if rounding leaves the sum short.
///
/// Whole blocks are summed first, which vectorises. Only the block in which the sum passes u is scanned element by
/// element.
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

/// Returns the index of the largest logit, or the lowest such index on a tie.
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
