//! Exact targets and distances on enumerable sets, with which a run can be compared instead of with samples.
//!
//! A distribution is a slice of natural log-probabilities over one enumeration of all completions; −∞ stands for an
//! impossible completion.
//!
//! **Length normalisation changes the target.** With sums (`length = "sum"`) FlowRL converges to the plain target
//! π_ref·exp(βr)/Z. If they are divided by T (`length = "mean"`) it converges to π_ref·exp(|y|(βr − c)), in which the
//! inverse temperature is β|y|: see [`length_normalised_target`].
//!
//! ```
//! use flowrl_core::exact;
//! // Two completions, equally likely under the reference; the first has reward 1.
//! let reference = [0.5_f64.ln(), 0.5_f64.ln()];
//! let mut target = [0.0; 2];
//! let log_z = exact::target(&reference, &[1.0, 0.0], 1.0, &mut target)?;
//! let e = 1.0_f64.exp();
//! assert!((log_z - ((e + 1.0) / 2.0).ln()).abs() < 1e-12);
//! assert!((target[0].exp() - e / (e + 1.0)).abs() < 1e-12);
//! assert!(exact::kl(&target, &reference)? > 0.0);
//! # Ok::<(), exact::Error>(())
//! ```

mod binary;
mod distance;

pub use binary::BinaryExact;
pub use distance::{entropy, jensen_shannon, kl, l1, modes_covered, total_variation};

use core::fmt;

use crate::Real;

/// The reason why an exact computation refused its input.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// Two slices over the same enumeration differ in length.
    Length {
        /// Name of the slice.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length of the enumeration.
        wanted: usize,
    },
    /// A value is NaN or +∞, or it is −∞ and must be finite.
    NonFinite {
        /// Name of the slice or number.
        argument: &'static str,
        /// Position in the slice, or 0 for a number.
        index: usize,
        /// The value.
        got: f64,
    },
    /// No element of the set has a probability above 0, so the distribution cannot be normalised.
    Empty {
        /// Name of the slice.
        argument: &'static str,
    },
    /// The length-normalised target has no root c: a possible completion has length 0, and no other one can make up for
    /// it.
    NoRoot,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Length { argument, got, wanted } => {
                write!(f, "`{argument}` has {got} elements, but the enumeration has {wanted}: pass one for each completion")
            }
            Self::NonFinite { argument, index, got } => {
                write!(f, "`{argument}[{index}]` is {got}: pass finite numbers (a log-probability may be -inf)")
            }
            Self::Empty { argument } => write!(f, "`{argument}` gives no completion a probability above 0"),
            Self::NoRoot => f.write_str(
                "the length-normalised target cannot be normalised: every possible completion is empty, or the empty one has \
                 probability 1; count the end token in the lengths",
            ),
        }
    }
}

impl core::error::Error for Error {}

/// Returns log Σ exp(x), computed relative to the largest element. The result is −∞ if the slice is empty or holds only
/// −∞.
///
/// ```
/// assert_eq!(flowrl_core::exact::log_sum_exp(&[1000.0, 1000.0]), 1000.0 + 2.0_f64.ln());
/// ```
pub fn log_sum_exp<T: Real>(x: &[T]) -> T {
    T::of(log_sum_exp_of(x.iter().map(|x| x.f64())))
}

/// Writes the plain target log π*(y) = log π_ref(y) + βr(y) − log Z to `out` and returns log Z = log Σ π_ref·exp(βr).
///
/// `ref_log_probs`, `rewards` and `out` are over the same enumeration. π_ref need not sum to 1; log Z is relative to
/// its sum.
///
/// # Errors
/// Returns an error if lengths differ, a reward is not finite, or the set has no probability mass.
pub fn target<T: Real>(ref_log_probs: &[T], rewards: &[T], beta: f64, out: &mut [T]) -> Result<f64, Error> {
    check_log_probs("ref_log_probs", ref_log_probs)?;
    check_len("rewards", rewards.len(), ref_log_probs.len())?;
    check_len("out", out.len(), ref_log_probs.len())?;
    check_finite("rewards", rewards)?;
    check_finite("beta", &[beta])?;
    let terms = || ref_log_probs.iter().zip(rewards).map(|(l, r)| l.f64() + beta * r.f64());
    let log_z = log_sum_exp_of(terms());
    if !log_z.is_finite() {
        return Err(Error::Empty { argument: "ref_log_probs" });
    }
    out.iter_mut().zip(terms()).for_each(|(out, term)| *out = T::of(term - log_z));
    Ok(log_z)
}

/// Writes the fixed point of length-normalised FlowRL, log π(y) = log π_ref(y) + |y|(βr(y) − c), to `out` and returns
/// c.
///
/// c is the only root of Σ π_ref(y)·exp(|y|(βr − c)) = 1, found by bracketing and bisection down to rounding. A learned
/// log Z converges to it. `lengths` must count the end token.
///
/// # Errors
/// Returns an error if lengths differ, a reward is not finite, the set has no probability mass, or there is no root
/// ([`Error::NoRoot`]).
pub fn length_normalised_target<T: Real>(
    ref_log_probs: &[T],
    rewards: &[T],
    lengths: &[usize],
    beta: f64,
    out: &mut [T],
) -> Result<f64, Error> {
    check_log_probs("ref_log_probs", ref_log_probs)?;
    check_len("rewards", rewards.len(), ref_log_probs.len())?;
    check_len("lengths", lengths.len(), ref_log_probs.len())?;
    check_len("out", out.len(), ref_log_probs.len())?;
    check_finite("rewards", rewards)?;
    check_finite("beta", &[beta])?;
    let terms = |c: f64| {
        let tilt = move |(reward, length): (&T, &usize)| *length as f64 * (beta * reward.f64() - c);
        ref_log_probs.iter().zip(rewards.iter().zip(lengths)).map(move |(l, y)| l.f64() + tilt(y))
    };
    // The log of the sum falls in c if some possible completion is not empty.
    let excess = |c: f64| log_sum_exp_of(terms(c));
    if excess(0.0) == f64::NEG_INFINITY {
        return Err(Error::Empty { argument: "ref_log_probs" });
    }
    let bound = |sign: f64| {
        let (mut end, mut step) = (sign, 1.0);
        while sign * excess(end) > 0.0 {
            step *= 2.0;
            end += sign * step;
            if step > 1e300 {
                return Err(Error::NoRoot);
            }
        }
        Ok(end)
    };
    let (mut low, mut high) = (bound(-1.0)?, bound(1.0)?);
    loop {
        let middle = low + 0.5 * (high - low);
        if high - low <= f64::EPSILON * middle.abs().max(1.0) {
            break;
        }
        if excess(middle) > 0.0 { low = middle } else { high = middle }
    }
    let c = 0.5 * (low + high);
    out.iter_mut().zip(terms(c)).for_each(|(out, term)| *out = T::of(term));
    Ok(c)
}

/// Computes log Σ exp over an iterator, which is run twice.
pub(crate) fn log_sum_exp_of(x: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = x.clone().fold(f64::NEG_INFINITY, f64::max);
    if largest.is_infinite() {
        return largest;
    }
    largest + Real::ln(x.map(|x| Real::exp(x - largest)).sum::<f64>())
}

/// Checks that a slice over an enumeration has the right length; otherwise returns [`Error::Length`].
pub fn check_len(argument: &'static str, got: usize, wanted: usize) -> Result<(), Error> {
    if got == wanted { Ok(()) } else { Err(Error::Length { argument, got, wanted }) }
}

/// Checks that all values are finite; otherwise returns [`Error::NonFinite`].
pub fn check_finite<T: Real>(argument: &'static str, values: &[T]) -> Result<(), Error> {
    check(argument, values, |v| v.is_finite())
}

/// Checks that log-probabilities are neither NaN nor +∞.
fn check_log_probs<T: Real>(argument: &'static str, values: &[T]) -> Result<(), Error> {
    check(argument, values, |v| v < T::infinity())
}

fn check<T: Real>(argument: &'static str, values: &[T], ok: impl Fn(T) -> bool) -> Result<(), Error> {
    match values.iter().position(|&v| !ok(v)) {
        None => Ok(()),
        Some(index) => Err(Error::NonFinite { argument, index, got: values[index].f64() }),
    }
}
