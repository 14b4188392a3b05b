//! SwiGLU: silu(gate)·up with silu(x) = x·σ(x) (Shazeer, arXiv 2002.05202).

use flowrl_core::Real;
use flowrl_core::kernel::Math;

/// Computes one row: `gate_up` is (gate, up), `out` is (ff).
#[inline(always)]
pub fn row<T: Real, M: Math>(gate_up: &[T], out: &mut [T]) {
    let (gate, up) = gate_up.split_at(out.len());
    for ((out, &g), &u) in out.iter_mut().zip(gate).zip(up) {
        *out = g / (T::one() + M::exp(-g)) * u;
    }
}

/// Computes the gradient of one row: d_gate = d·up·σ(g)·(1 + g·(1 − σ(g))), d_up = d·silu(g).
#[inline(always)]
pub fn row_backward<T: Real, M: Math>(gate_up: &[T], d_out: &[T], d_gate_up: &mut [T]) {
    let (gate, up) = gate_up.split_at(d_out.len());
    let (d_gate, d_up) = d_gate_up.split_at_mut(d_out.len());
    for ((((dg, du), &g), &u), &d) in d_gate.iter_mut().zip(d_up).zip(gate).zip(up).zip(d_out) {
        let sigma = T::one() / (T::one() + M::exp(-g));
        *dg = d * u * sigma * (T::one() + g * (T::one() - sigma));
        *du = d * g * sigma;
    }
}
