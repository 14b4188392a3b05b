//! The CPU kernels of the transformer: plain functions over slices, each followed by its backward pass.

pub(crate) mod attention;

use flowrl_core::Real;
use flowrl_core::kernel::{Math, lanes};

/// Normalises one row: y = x·s·w with s = 1/√(mean(x²) + ε) (Zhang and Sennrich, arXiv 1910.07467). Returns s.
#[inline(always)]
pub(crate) fn rms_norm<T: Real>(x: &[T], w: &[T], eps: T, y: &mut [T]) -> T {
    let s = T::one() / (lanes::dot(x, x) / T::of_usize(x.len()) + eps).sqrt();
    for ((y, &x), &w) in y.iter_mut().zip(x).zip(w) {
        *y = x * s * w;
    }
    s
}

/// Adds the gradient of one row to dx: dx += s·(dy·w − x·s²·mean(dy·w·x)).
#[inline(always)]
pub(crate) fn rms_norm_backward_input<T: Real>(dy: &[T], x: &[T], w: &[T], s: T, dx: &mut [T]) {
    let c = inner(dy, x, w) * s * s / T::of_usize(x.len());
    for (((dx, &dy), &x), &w) in dx.iter_mut().zip(dy).zip(x).zip(w) {
        *dx += s * (dy * w - x * c);
    }
}

/// Replaces dy by the gradient that [`rms_norm_backward_input`] would add.
#[inline(always)]
pub(crate) fn rms_norm_backward_in_place<T: Real>(dy: &mut [T], x: &[T], w: &[T], s: T) {
    let c = inner(dy, x, w) * s * s / T::of_usize(x.len());
    for ((dy, &x), &w) in dy.iter_mut().zip(x).zip(w) {
        *dy = s * (*dy * w - x * c);
    }
}

/// Adds the part of one row to the gradient of w: dw += dy·x·s.
#[inline(always)]
pub(crate) fn rms_norm_backward_weight<T: Real>(dy: &[T], x: &[T], s: T, dw: &mut [T]) {
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

/// Rotates one head in place; `cos` and `sin` are (head_dim/2). The elements a and b with the indices i and
/// i + head_dim/2 become a·cos − b·sin and b·cos + a·sin, the halves convention of rotary embeddings (Su et al.,
/// arXiv 2104.09864). The backward pass is the rotation by the opposite angle.
#[inline(always)]
pub(crate) fn rotate<T: Real>(x: &mut [T], cos: &[T], sin: &[T], backward: bool) {
    let (low, high) = x.split_at_mut(cos.len());
    for (((a, b), &c), &s) in low.iter_mut().zip(high).zip(cos).zip(sin) {
        let s = if backward { -s } else { s };
        (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
    }
}

/// Returns cos and sin of position·frequency, (positions, frequencies) each, computed in double precision.
pub fn rotary_table<T: Real>(positions: usize, frequencies: &[f64]) -> (Vec<T>, Vec<T>) {
    let angles = (0..positions).flat_map(|p| frequencies.iter().map(move |f| p as f64 * f));
    angles.map(|angle| (T::of(angle.cos()), T::of(angle.sin()))).unzip()
}

/// Computes one row of silu(gate)·up with silu(x) = x·σ(x) (Shazeer, arXiv 2002.05202): `gate_up` is (gate, up),
/// `out` is (ff).
#[inline(always)]
pub(crate) fn swiglu<T: Real, M: Math>(gate_up: &[T], out: &mut [T]) {
    let (gate, up) = gate_up.split_at(out.len());
    for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *out = g / (T::one() + M::exp(-g)) * u;
    }
}

/// Computes the gradient of one row: d_gate = d·up·σ(g)·(1 + g·(1 − σ(g))), d_up = d·silu(g).
#[inline(always)]
pub(crate) fn swiglu_backward<T: Real, M: Math>(gate_up: &[T], d_out: &[T], d_gate_up: &mut [T]) {
    let (gate, up) = gate_up.split_at(d_out.len());
    let (d_gate, d_up) = d_gate_up.split_at_mut(d_out.len());
    for ((((dg, du), &g), &u), &d) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(d_out) {
        let sigma = T::one() / (T::one() + M::exp(-g));
        *dg = d * u * sigma * (T::one() + g * (T::one() - sigma));
        *du = d * g * sigma;
    }
}
