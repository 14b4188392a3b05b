//! The reference's matrix products, as plain loops. The fast path calls a library instead.

use crate::Real;

use super::lanes;

/// Computes y (rows, outputs) = x (rows, inputs)·Wᵀ + b. If `accumulate` is set, this is added to y.
///
/// `w` is (outputs, inputs) and `bias` is (outputs).
pub fn linear<T: Real>(
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
    inputs: usize,
    outputs: usize,
    accumulate: bool,
) {
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        for (o, (y, w)) in y.iter_mut().zip(w.chunks_exact(inputs)).enumerate() {
            let start = if accumulate { *y } else { T::zero() };
            *y = start + bias.map_or(T::zero(), |b| b[o]) + lanes::dot(x, w);
        }
    }
}

/// Computes dx (rows, inputs) = dy (rows, outputs)·W. If `accumulate` is set, this is added to dx.
pub fn linear_backward_input<T: Real>(
    dy: &[T],
    w: &[T],
    dx: &mut [T],
    inputs: usize,
    outputs: usize,
    accumulate: bool,
) {
    for (dy, dx) in dy.chunks_exact(outputs).zip(dx.chunks_exact_mut(inputs)) {
        if !accumulate {
            dx.fill(T::zero());
        }
        for (&dy, w) in dy.iter().zip(w.chunks_exact(inputs)) {
            lanes::axpy(dy, w, dx);
        }
    }
}

/// Adds dyᵀ·x to dW (outputs, inputs), and the sum over the rows of dy to db (outputs).
pub fn linear_backward_weight<T: Real>(
    dy: &[T],
    x: &[T],
    dw: &mut [T],
    db: Option<&mut [T]>,
    inputs: usize,
    outputs: usize,
) {
    for (dy, x) in dy.chunks_exact(outputs).zip(x.chunks_exact(inputs)) {
        for (&dy, dw) in dy.iter().zip(dw.chunks_exact_mut(inputs)) {
            lanes::axpy(dy, x, dw);
        }
    }
    if let Some(db) = db {
        column_sums(dy, db);
    }
}

/// Adds the sum over the rows of x (rows, columns), in ascending order, to `out` (columns).
pub fn column_sums<T: Real>(x: &[T], out: &mut [T]) {
    for row in x.chunks_exact(out.len()) {
        lanes::axpy(T::one(), row, out);
    }
}
