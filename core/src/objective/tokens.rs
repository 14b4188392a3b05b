//! Passes over the tokens of one sequence.
//!
//! Sums are in double precision whatever the storage type, in [`LANES`] independent accumulators that the compiler
//! turns into vectors. They are added up in a fixed order, so the result depends on the values alone, never on the
//! machine or on the rest of the batch.

use super::{Batch, Error};
use crate::Real;
use crate::kernel::lanes::{self, LANES};
use crate::kernel::vectorized;

/// Σ (a − b) and max |a − b| over a sequence.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Difference {
    pub(super) sum: f64,
    pub(super) max_abs: f64,
}

/// The log-ratios of one sequence that an objective starts from. The inputs have been checked to be finite.
#[derive(Clone, Copy, Debug)]
pub(super) struct LogRatios {
    /// l − l_ref, if the reference is given.
    pub(super) reference: Option<Difference>,
    /// l − l_old, if the old policy is given.
    pub(super) old: Option<Difference>,
}

impl LogRatios {
    /// Computes the log-ratios of sequence i.
    pub(super) fn of<T: Real>(batch: &Batch<'_, T>, i: usize) -> Result<Self, Error> {
        let tokens = batch.tokens(i);
        let l = &batch.log_probs[tokens.clone()];
        let reference = batch.ref_log_probs.map(|r| &r[tokens.clone()]);
        let old = batch.old_log_probs.map(|o| &o[tokens]);
        let ratios = Self { reference: reference.map(|r| difference(l, r)), old: old.map(|o| difference(l, o)) };
        // A sum is finite only if every term is.
        let mut sums = [ratios.reference, ratios.old].into_iter().flatten().peekable();
        let finite = match sums.peek() {
            Some(_) => sums.all(|d| d.sum.is_finite()),
            None => l.iter().all(|x| x.is_finite()),
        };
        let rollout = batch.rollout_log_probs.map(|r| difference(l, &r[batch.tokens(i)]));
        if finite && rollout.is_none_or(|d| d.sum.is_finite()) { Ok(ratios) } else { Err(locate(batch, i)) }
    }
}

/// Computes Σ (a − b) and max |a − b|. The unrolled loop is large, so its callers share one copy.
#[inline(never)]
pub(super) fn difference<T: Real>(a: &[T], b: &[T]) -> Difference {
    vectorized(
        #[inline(always)]
        || {
            let (mut sum, mut max) = ([0.0; LANES], [0.0; LANES]);
            let ((chunks_a, tail_a), (chunks_b, tail_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            for (a, b) in chunks_a.iter().zip(chunks_b) {
                let d: [f64; LANES] = core::array::from_fn(|i| a[i].f64() - b[i].f64());
                for i in 0..LANES {
                    sum[i] += d[i];
                }
                for i in 0..LANES {
                    max[i] = if d[i].abs() > max[i] { d[i].abs() } else { max[i] };
                }
            }
            for (lane, (a, b)) in tail_a.iter().zip(tail_b).enumerate() {
                let d = a.f64() - b.f64();
                sum[lane] += d;
                max[lane] = max[lane].max(d.abs());
            }
            Difference { sum: lanes::fold(sum, |a, b| a + b), max_abs: max.into_iter().fold(0.0, f64::max) }
        },
    )
}

/// Returns Σ (a − b) over the tokens with a non-zero entry in `keep`, and the number of these tokens.
pub(super) fn masked_sum<T: Real>(a: &[T], b: &[T], keep: &[T]) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    for ((a, b), keep) in a.iter().zip(b).zip(keep) {
        if *keep != T::zero() {
            sum += a.f64() - b.f64();
            count += 1;
        }
    }
    (sum, count)
}

/// Returns Σ a. If `keep` is given, this sums only the tokens with a non-zero entry in it.
pub(super) fn sum<T: Real>(a: &[T], keep: Option<&[T]>) -> f64 {
    let kept = |t: usize| keep.is_none_or(|keep| keep[t] != T::zero());
    a.iter().enumerate().filter(|(t, _)| kept(*t)).map(|(_, a)| a.f64()).sum()
}

/// Finds the value of sequence i that is not finite. This is the slow path.
#[cold]
fn locate<T: Real>(batch: &Batch<'_, T>, i: usize) -> Error {
    let slices = [
        ("log_probs", Some(batch.log_probs)),
        ("ref_log_probs", batch.ref_log_probs),
        ("old_log_probs", batch.old_log_probs),
        ("rollout_log_probs", batch.rollout_log_probs),
    ];
    for (argument, slice) in slices {
        let values = slice.map_or(&[][..], |s| &s[batch.tokens(i)]);
        if let Some(token) = values.iter().position(|v| !v.is_finite()) {
            return Error::NonFinite { argument, sequence: i, token: Some(token), got: values[token].f64() };
        }
    }
    Error::Overflow { quantity: "sum of log-ratios", sequence: i }
}
