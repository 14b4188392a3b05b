//! The terms that both families of objectives are made of: importance weights, passes over the tokens of a sequence, and
//! groups of sequences.
//!
//! Weights are computed from their logarithm, so that a log weight of ±10⁴ stays finite if a bound is set. Sums are in
//! double precision whatever the storage type, in [`LANES`] independent accumulators that the compiler turns into
//! vectors. They are added up in a fixed order, so the result depends on the values alone, never on the machine or on the
//! rest of the batch.

use super::{Batch, Error};
use crate::Real;
use crate::kernel::lanes::{self, LANES};
use crate::vectorize;

/// Bounds of a weight, stored together with their logarithms.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clip {
    low: f64,
    high: f64,
    log_low: f64,
    log_high: f64,
    /// Upper bound of a surrogate if the advantage is negative.
    dual: f64,
    log_dual: f64,
}

/// A weight after clipping.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clipped {
    pub(super) weight: f64,
    pub(super) clipped: bool,
}

impl Clip {
    pub(super) fn new(low: Option<f64>, high: Option<f64>) -> Self {
        let (low, high) = (low.unwrap_or(0.0), high.unwrap_or(f64::INFINITY));
        let (log_low, log_high, dual) = (Real::ln(low), Real::ln(high), f64::INFINITY);
        Self { low, high, log_low, log_high, dual, log_dual: dual }
    }

    /// Adds an upper bound for negative advantages to the surrogate: dual clip (Ye and others, arXiv 1912.09729).
    pub(super) fn with_dual(self, dual: Option<f64>) -> Self {
        let dual = dual.unwrap_or(f64::INFINITY);
        Self { dual, log_dual: Real::ln(dual), ..self }
    }

    /// Returns whether a bound is set.
    pub(super) fn bounds(&self) -> bool {
        self.low > 0.0 || self.high.is_finite()
    }

    /// Returns clip(exp(log_weight)). A clipped weight equals the bound bit for bit.
    pub(super) fn weight(&self, log_weight: f64) -> Clipped {
        if log_weight > self.log_high {
            Clipped { weight: self.high, clipped: true }
        } else if log_weight < self.log_low {
            Clipped { weight: self.low, clipped: true }
        } else {
            Clipped { weight: Real::exp(log_weight), clipped: false }
        }
    }

    /// Returns the logarithm of [`weight`](Self::weight), for weights that underflow.
    pub(super) fn log(&self, log_weight: f64) -> f64 {
        log_weight.max(self.log_low).min(self.log_high)
    }

    /// Returns ρ′ of the clipped surrogate min(ρA, clip(ρ)A) = ρ′A, in which ρ′ is bounded only on the side that `min`
    /// selects. If that bound is active, `clipped` is set and the gradient is 0.
    pub(super) fn surrogate(&self, log_ratio: f64, advantage: f64) -> Clipped {
        if advantage == 0.0 {
            return Clipped { weight: 1.0, clipped: false };
        }
        let one_sided = if advantage > 0.0 {
            Self { low: 0.0, log_low: f64::NEG_INFINITY, ..*self }
        } else {
            Self { high: self.dual, log_high: self.log_dual, ..*self }
        };
        one_sided.weight(log_ratio)
    }
}

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
    vectorize!({
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
    })
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

/// Fills `order` with 0..B, sorted by (group, index).
pub(super) fn sort_by_group(groups: &[usize], order: &mut [usize]) {
    for (i, slot) in order.iter_mut().enumerate() {
        *slot = i;
    }
    if !groups.is_sorted() {
        heap_sort(order, |&i| (groups[i], i));
    }
}

/// Sorts without the standard library: its sorts are fast for any input but add much code, and groups are rarely out of
/// order.
fn heap_sort<K: Ord>(items: &mut [usize], key: impl Fn(&usize) -> K) {
    let sift_down = |heap: &mut [usize], mut parent: usize| {
        while let Some(child) = (2 * parent + 1..heap.len().min(2 * parent + 3)).max_by_key(|&child| key(&heap[child]))
        {
            if key(&heap[child]) <= key(&heap[parent]) {
                break;
            }
            heap.swap(child, parent);
            parent = child;
        }
    };
    for parent in (0..items.len() / 2).rev() {
        sift_down(items, parent);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift_down(&mut items[..end], 0);
    }
}

/// Iterates over the runs of equal groups in a sorted `order`.
pub(super) fn runs<'a>(groups: &'a [usize], order: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
    order.chunk_by(|&a, &b| groups[a] == groups[b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn groups_in_any_order_are_sorted_by_group_and_place() {
        let stream = Stream::new(5, Purpose::Task);
        for count in 0..200_u32 {
            let groups: [usize; 200] = core::array::from_fn(|i| stream.below(9, count, i as u32, 0) as usize);
            let groups = &groups[..count as usize];
            let (mut order, mut wanted) = ([0; 200], [0; 200]);
            let (order, wanted) = (&mut order[..groups.len()], &mut wanted[..groups.len()]);
            wanted.iter_mut().enumerate().for_each(|(i, slot)| *slot = i);
            wanted.sort_by_key(|&i| groups[i]);
            sort_by_group(groups, order);
            assert_eq!(order, wanted, "{groups:?}");
        }
    }
}
