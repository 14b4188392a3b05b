//! Layer normalisation of each row: y = (x − mean)/√(var + ε)·γ + β.

use super::lanes;
use crate::Real;

/// Computes y (rows, d) from x (rows, d). `mean` and `inv_std` (rows) are kept for the backward pass.
#[inline(always)]
pub fn layer_norm<T: Real>(x: &[T], gamma: &[T], beta: &[T], eps: f64, y: &mut [T], mean: &mut [T], inv_std: &mut [T]) {
    let d = gamma.len();
    let n = T::of_usize(d);
    for (((x, y), mean), inv_std) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(mean).zip(inv_std) {
        let m = lanes::sum(x) / n;
        let variance = lanes::reduce(x, T::zero(), |v| (v - m) * (v - m), |a, b| a + b) / n;
        let s = T::one() / (variance + T::of(eps)).sqrt();
        for (((y, &x), &g), &b) in y.iter_mut().zip(x).zip(gamma).zip(beta) {
            *y = (x - m) * s * g + b;
        }
        (*mean, *inv_std) = (m, s);
    }
}

/// Computes dx in place of dy (rows, d). With x̂ = (x − mean)/std and g = dy·γ: dx = (g − mean(g) − x̂·mean(g·x̂))/std.
#[inline(always)]
pub fn layer_norm_backward_input<T: Real>(x: &[T], gamma: &[T], mean: &[T], inv_std: &[T], dy: &mut [T]) {
    let d = gamma.len();
    let n = T::of_usize(d);
    for (((x, dy), &m), &s) in x.chunks_exact(d).zip(dy.chunks_exact_mut(d)).zip(mean).zip(inv_std) {
        for (dy, &g) in dy.iter_mut().zip(gamma) {
            *dy *= g;
        }
        let mean_g = lanes::sum(dy) / n;
        let (g, x_row) = (&dy[..d], &x[..d]);
        let mean_gx = lanes::sum_over(d, |i| g[i] * (x_row[i] - m)) * s / n;
        for (dy, &x) in dy.iter_mut().zip(x) {
            *dy = (*dy - mean_g - (x - m) * s * mean_gx) * s;
        }
    }
}

/// Adds Σ dy·x̂ to dγ (d) and Σ dy to dβ (d), over the rows in ascending order.
#[inline(always)]
pub fn layer_norm_backward_weight<T: Real>(
    x: &[T],
    mean: &[T],
    inv_std: &[T],
    dy: &[T],
    d_gamma: &mut [T],
    d_beta: &mut [T],
) {
    let d = d_gamma.len();
    for (((x, dy), &m), &s) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(mean).zip(inv_std) {
        for (((dg, db), &x), &dy) in d_gamma.iter_mut().zip(d_beta.iter_mut()).zip(x).zip(dy) {
            *dg += dy * (x - m) * s;
            *db += dy;
        }
    }
}
