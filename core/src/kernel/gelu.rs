//! GELU in its exact form x·Φ(x) (Hendrycks and Gimpel, arXiv 1606.08415).

use super::Math;
use crate::Real;

/// Computes y = x·Φ(x).
#[inline(always)]
pub fn forward<T: Real, M: Math>(x: &[T], y: &mut [T]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y = x * M::normal(x).0;
    }
}

/// Computes dx = dy·(Φ(x) + x·φ(x)) in place of dy.
#[inline(always)]
pub fn backward<T: Real, M: Math>(x: &[T], dy: &mut [T]) {
    for (dy, &x) in dy.iter_mut().zip(x) {
        let (cdf, pdf) = M::normal(x);
        *dy *= cdf + x * pdf;
    }
}
