//! RMS normalisation: y = x·s·w with s = 1/√(mean(x²) + ε) (Zhang and Sennrich, arXiv 1910.07467).

use flowrl_core::Real;
use flowrl_core::kernel::lanes;

/// Normalises one row and returns s.
#[inline(always)]
pub fn row<T: Real>(x: &[T], w: &[T], eps: T, y: &mut [T]) -> T {
    let s = T::one() / (lanes::dot(x, x) / T::of_usize(x.len()) + eps).sqrt();
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
        *y = x * s * w;
    }
    s
}

/// Adds the gradient of one row to dx: dx += s·(dy·w − x·s²·mean(dy·w·x)).
#[inline(always)]
pub fn row_backward_input<T: Real>(dy: &[T], x: &[T], w: &[T], s: T, dx: &mut [T]) {
    let c = inner(dy, x, w) * s * s / T::of_usize(x.len());
    for (((dx, &dy), &x), &w) in dx.iter_mut().zip(dy).zip(x).zip(w) {
        *dx += s * (dy * w - x * c);
    }
}

/// Replaces dy by the gradient that [`row_backward_input`] would add.
#[inline(always)]
pub fn row_backward_in_place<T: Real>(dy: &mut [T], x: &[T], w: &[T], s: T) {
    let c = inner(dy, x, w) * s * s / T::of_usize(x.len());
    for ((dy, &x), &w) in dy.iter_mut().zip(x).zip(w) {
        *dy = s * (*dy * w - x * c);
    }
}

/// Adds the part of one row to the gradient of w: dw += dy·x·s.
#[inline(always)]
pub fn row_backward_weight<T: Real>(dy: &[T], x: &[T], s: T, dw: &mut [T]) {
    for ((dw, &dy), &x) in dw.iter_mut().zip(dy).zip(x) {
        *dw += dy * x * s;
    }
}

/// Returns Σ dy·w·x.
#[inline(always)]
fn inner<T: Real>(dy: &[T], x: &[T], w: &[T]) -> T {
    let n = dy.len();
    let (x, w) = (&x[..n], &w[..n]);
    lanes::sum_over(n, |i| dy[i] * w[i] * x[i])
}
