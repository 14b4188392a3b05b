//! Distances between two distributions over the same enumeration, in nats.

use super::{Error, check_finite, check_log_probs, check_same_length};
use crate::Real;

/// KL(p ‖ q) = Σ p (log p − log q) from log-probabilities: ∞ where q misses mass of p.
///
/// # Errors
/// Slices of different length, NaN or +∞.
pub fn kl<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    Ok(pairs(p, q).map(|(p, q)| weighted(p, p - q)).sum())
}

/// Total variation ½ Σ |p − q|, between 0 and 1.
///
/// # Errors
/// As [`kl`].
pub fn total_variation<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    Ok(0.5 * l1(p, q)?)
}

/// Σ |p − q|, twice the [`total_variation`].
///
/// # Errors
/// As [`kl`].
pub fn l1<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    Ok(pairs(p, q).map(|(p, q)| (Real::exp(p) - Real::exp(q)).abs()).sum())
}

/// Jensen–Shannon divergence ½KL(p ‖ m) + ½KL(q ‖ m), m = (p + q)/2: between 0 and ln 2.
///
/// # Errors
/// As [`kl`].
pub fn jensen_shannon<T: Real>(p: &[T], q: &[T]) -> Result<f64, Error> {
    check_pair(p, q)?;
    let term = |(p, q): (f64, f64)| {
        let middle = super::log_sum_exp_of([p, q].into_iter()) - core::f64::consts::LN_2;
        0.5 * (weighted(p, p - middle) + weighted(q, q - middle))
    };
    Ok(pairs(p, q).map(term).sum())
}

/// Entropy −Σ p log p.
///
/// # Errors
/// NaN or +∞.
pub fn entropy<T: Real>(p: &[T]) -> Result<f64, Error> {
    check_log_probs("p", p)?;
    Ok(p.iter().map(|p| -weighted(p.f64(), p.f64())).sum())
}

/// How many of `modes` (indices into the enumeration) p gives at least `fraction` of the target's probability.
///
/// # Errors
/// As [`kl`]; [`Error::Length`] for a mode outside the enumeration.
pub fn modes_covered<T: Real>(p: &[T], target: &[T], modes: &[usize], fraction: f64) -> Result<usize, Error> {
    check_same_length("target", target.len(), p.len())?;
    check_log_probs("p", p)?;
    check_log_probs("target", target)?;
    check_finite("fraction", &[fraction])?;
    let outside = modes.iter().copied().find(|&m| m >= p.len());
    outside.map_or(Ok(()), |got| Err(Error::Length { argument: "modes", got, want: p.len() }))?;
    let covered = |&&m: &&usize| Real::exp(p[m].f64()) >= fraction * Real::exp(target[m].f64());
    Ok(modes.iter().filter(covered).count())
}

/// eˡ·x with the limit 0 where the probability is 0.
fn weighted(log_prob: f64, x: f64) -> f64 {
    if log_prob == f64::NEG_INFINITY { 0.0 } else { Real::exp(log_prob) * x }
}

fn check_pair<T: Real>(p: &[T], q: &[T]) -> Result<(), Error> {
    check_same_length("q", q.len(), p.len())?;
    check_log_probs("p", p)?;
    check_log_probs("q", q)
}

fn pairs<T: Real>(p: &[T], q: &[T]) -> impl Iterator<Item = (f64, f64)> {
    p.iter().zip(q).map(|(p, q)| (p.f64(), q.f64()))
}
