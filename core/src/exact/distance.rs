//! Distances between two distributions over the same enumeration, in nats. The functions return an error if the slices
//! differ in length or hold NaN or +∞.

use super::{Error, check_finite, check_len, check_log_probs};
use crate::Real;

/// Returns KL(p ‖ q) = Σ p (log p − log q), computed from log-probabilities. It is ∞ if q is 0 at a completion that p
/// can give.
pub fn kl<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    Ok(pairs(p, q).map(|(p, q)| weighted(p, p - q)).sum())
}

/// Returns the total variation ½ Σ |p − q|, between 0 and 1.
pub fn total_variation<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    Ok(0.5 * l1(p, q)?)
}

/// Returns Σ |p − q|, which is twice the [`total_variation`].
pub fn l1<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    Ok(pairs(p, q).map(|(p, q)| (Real::exp(p) - Real::exp(q)).abs()).sum())
}

/// Returns the Jensen–Shannon divergence ½KL(p ‖ m) + ½KL(q ‖ m) with m = (p + q)/2, between 0 and ln 2.
pub fn jensen_shannon<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    let term = |(p, q): (f64, f64)| {
        let middle = super::log_sum_exp_of([p, q].into_iter()) - core::f64::consts::LN_2;
        0.5 * (weighted(p, p - middle) + weighted(q, q - middle))
    };
    Ok(pairs(p, q).map(term).sum())
}

/// Returns the entropy −Σ p log p.
pub fn entropy<T: Real>(p: &[T]) -> Result<f64, Error> {
    check_log_probs("p", p)?;
    Ok(p.iter().map(|p| -weighted(p.f64(), p.f64())).sum())
}

/// Counts the `modes` (indices into the enumeration) that p gives at least `fraction` of the target's probability. A
/// mode outside the enumeration is an [`Error::Length`].
pub fn modes_covered<T: Real>(p: &[T], target: &[T], modes: &[usize], fraction: f64) -> Result<usize, Error> {
    check_len("target", target.len(), p.len())?;
    check_log_probs("p", p)?;
    check_log_probs("target", target)?;
    check_finite("fraction", &[fraction])?;
    let outside = modes.iter().copied().find(|&m| m >= p.len());
    outside.map_or(Ok(()), |got| Err(Error::Length { argument: "modes", got, wanted: p.len() }))?;
    let covered = |&&m: &&usize| Real::exp(p[m].f64()) >= fraction * Real::exp(target[m].f64());
    Ok(modes.iter().filter(covered).count())
}

/// Returns eˡ·x, or its limit 0 if the probability is 0.
fn weighted(log_prob: f64, x: f64) -> f64 {
    if log_prob == f64::NEG_INFINITY { 0.0 } else { Real::exp(log_prob) * x }
}

fn check_pair<T: Real>(p: &[T], q: &[T]) -> Result<(), Error> {
    check_len("q", q.len(), p.len())?;
    check_log_probs("p", p)?;
    check_log_probs("q", q)
}

fn pairs<T: Real>(p: &[T], q: &[T]) -> impl Iterator<Item = (f64, f64)> {
    p.iter().zip(q).map(|(p, q)| (p.f64(), q.f64()))
}
