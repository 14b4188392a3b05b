//! Sums, dot products and maxima over sixteen independent partial results. They vectorise, and still add up in one
//! fixed order on every machine.

use crate::Real;

/// Number of partial results.
pub const LANES: usize = 16;

/// Combines the partial results as a balanced tree.
#[inline(always)]
pub fn fold<T: Real>(mut lanes: [T; LANES], combine: impl Fn(T, T) -> T) -> T {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] = combine(lanes[i], lanes[i + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Folds `term(x[i])` over a slice. Element i goes to lane i mod 16.
#[inline(always)]
pub fn reduce<T: Real, V: Copy>(x: &[V], start: T, term: impl Fn(V) -> T, combine: impl Fn(T, T) -> T + Copy) -> T {
    let mut lanes = [start; LANES];
    let chunks = x.chunks_exact(LANES);
    let rest = chunks.remainder();
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = combine(lanes[i], term(chunk[i]));
        }
    }
    for (lane, &v) in lanes.iter_mut().zip(rest) {
        *lane = combine(*lane, term(v));
    }
    fold(lanes, combine)
}

/// Returns Σ term(i) over 0..n, in the order of [`reduce`]. This serves sums over several slices at once.
#[inline(always)]
pub fn sum_over<T: Real>(n: usize, term: impl Fn(usize) -> T) -> T {
    let mut lanes = [T::zero(); LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane += term(start + i);
        }
    }
    for (lane, i) in lanes.iter_mut().zip(whole..n) {
        *lane += term(i);
    }
    fold(lanes, |a, b| a + b)
}

/// Returns Σ x.
#[inline(always)]
pub fn sum<T: Real>(x: &[T]) -> T {
    reduce(x, T::zero(), |v| v, |a, b| a + b)
}

/// Returns max x, or −∞ for an empty slice. A NaN may be lost, so check for NaNs first.
#[inline(always)]
pub fn max<T: Real>(x: &[T]) -> T {
    reduce(x, T::neg_infinity(), |v| v, |a, b| if b > a { b } else { a })
}

/// Returns Σ aᵢ·bᵢ over the length of the shorter slice.
#[inline(always)]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> T {
    fold(products(a, b), |p, q| p + q)
}

/// Returns the partial results of [`dot`].
#[inline(always)]
pub fn products<T: Real>(a: &[T], b: &[T]) -> [T; LANES] {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [T::zero(); LANES];
    let (ca, cb) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (ra, rb) = (ca.remainder(), cb.remainder());
    for (x, y) in ca.zip(cb) {
        for i in 0..LANES {
            lanes[i] += x[i] * y[i];
        }
    }
    for ((lane, &x), &y) in lanes.iter_mut().zip(ra).zip(rb) {
        *lane += x * y;
    }
    lanes
}

/// Returns the [`products`] of the first N elements, with the same bits. N is a multiple of 16 that the compiler knows.
#[inline(always)]
pub fn products_of<T: Real, const N: usize>(a: &[T], b: &[T]) -> [T; LANES] {
    let (a, b) = (a[..N].as_chunks::<LANES>().0, b[..N].as_chunks::<LANES>().0);
    let mut lanes = [T::zero(); LANES];
    for c in 0..N / LANES {
        for i in 0..LANES {
            lanes[i] += a[c][i] * b[c][i];
        }
    }
    lanes
}

/// Adds a·x to y.
#[inline(always)]
pub fn axpy<T: Real>(a: T, x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agree_with_the_plain_loops() {
        let a: [f64; 37] = core::array::from_fn(|i| (i as f64 * 0.7) - 11.0);
        let b: [f64; 37] = core::array::from_fn(|i| 1.0 / (i as f64 + 1.0));
        assert!((sum(&a) - a.iter().sum::<f64>()).abs() < 1e-12);
        assert!((dot(&a, &b) - a.iter().zip(&b).map(|(x, y)| x * y).sum::<f64>()).abs() < 1e-12);
        assert_eq!(sum_over(37, |i| a[i] * b[i]), dot(&a, &b));
        assert_eq!(products_of::<f64, 32>(&a, &b), products(&a[..32], &b));
        assert_eq!(max(&a), a[36]);
        assert_eq!(max::<f64>(&[]), f64::NEG_INFINITY);
    }
}
