//! The products of a linear layer. The fast path calls a library or the kernel for prepared weights; the reference uses
//! plain loops.

use super::CpuBackend;
use crate::Real;
#[cfg(feature = "fast")]
use crate::backend::product::{product, view, view_mut};
use crate::backend::{CpuError, LinearShape, check_len};
#[cfg(feature = "fast")]
use crate::kernel::lanes;
use crate::kernel::matmul;
#[cfg(feature = "fast")]
use crate::kernel::panel;

/// The operands of y ← [y +] x·Wᵀ + b.
pub(super) struct Forward<'a, T> {
    pub(super) x: &'a [T],
    pub(super) w: &'a [T],
    pub(super) bias: Option<&'a [T]>,
    pub(super) y: &'a mut [T],
    pub(super) shape: LinearShape,
    pub(super) accumulate: bool,
}

impl<T: Real> Forward<'_, T> {
    /// Checks the lengths (W has `rows_of_w` rows) and cuts every slice but W to the elements that are used.
    fn check(self, rows_of_w: usize) -> Result<Self, CpuError> {
        let Self { x, w, bias, y, shape, accumulate } = self;
        let LinearShape { rows, inputs, outputs } = shape;
        check_len("x", x.len(), rows * inputs)?;
        check_len("w", w.len(), rows_of_w * inputs)?;
        check_len("y", y.len(), rows * outputs)?;
        if let Some(bias) = bias {
            check_len("bias", bias.len(), outputs)?;
        }
        let bias = bias.map(|bias| &bias[..outputs]);
        Ok(Self { x: &x[..rows * inputs], w, bias, y: &mut y[..rows * outputs], shape, accumulate })
    }

    /// Copies the bias into every row of y, or adds it. Returns whether the product must then be added to y.
    #[cfg(feature = "fast")]
    fn begin(&mut self) -> bool {
        let Some(bias) = self.bias else { return self.accumulate };
        for y in self.y.chunks_exact_mut(self.shape.outputs) {
            if self.accumulate {
                lanes::axpy(T::one(), bias, y);
            } else {
                y.copy_from_slice(bias);
            }
        }
        true
    }
}

impl<T: Real> CpuBackend<T> {
    /// Computes the product.
    pub(super) fn forward(&self, layer: Forward<'_, T>) -> Result<(), CpuError> {
        let LinearShape { inputs, outputs, .. } = layer.shape;
        let layer = layer.check(outputs)?;
        #[cfg(feature = "fast")]
        if self.fast {
            let mut layer = layer;
            let beta = if layer.begin() { T::one() } else { T::zero() };
            let Forward { x, w, y, shape: LinearShape { rows, .. }, .. } = layer;
            let w = view(w, outputs, inputs).reversed_axes();
            product(&self.pool, view(x, rows, inputs), w, beta, view_mut(y, rows, outputs));
            return Ok(());
        }
        let Forward { x, w, bias, y, accumulate, .. } = layer;
        matmul::linear(x, w, bias, y, inputs, outputs, accumulate);
        Ok(())
    }

    /// Computes the product with weights that [`pack`](crate::backend::packed::pack) prepared in panels of `width` outputs.
    #[cfg(feature = "fast")]
    pub(super) fn forward_prepared(&self, width: usize, layer: Forward<'_, T>) -> Result<(), CpuError> {
        let LinearShape { rows, inputs, outputs } = layer.shape;
        let mut layer = layer.check(outputs.next_multiple_of(width))?;
        let accumulate = layer.begin();
        let Forward { x, w, y, .. } = layer;
        let block = rows.div_ceil(self.pool.jobs(rows * inputs * outputs / 8)).max(1);
        let jobs = x.chunks(block * inputs).zip(y.chunks_mut(block * outputs));
        self.pool.run(jobs, |(x, y)| {
            T::multiply_packed(panel::Product { x, w, y, inputs, outputs, accumulate });
        });
        Ok(())
    }

    /// Computes dx ← [dx +] dy·W.
    pub(super) fn backward_input(
        &self,
        dy: &[T],
        w: &[T],
        dx: &mut [T],
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), CpuError> {
        let LinearShape { rows, inputs, outputs } = shape;
        check_len("dy", dy.len(), rows * outputs)?;
        check_len("w", w.len(), outputs * inputs)?;
        check_len("dx", dx.len(), rows * inputs)?;
        #[cfg(feature = "fast")]
        if self.fast {
            let beta = if accumulate { T::one() } else { T::zero() };
            product(&self.pool, view(dy, rows, outputs), view(w, outputs, inputs), beta, view_mut(dx, rows, inputs));
            return Ok(());
        }
        let (dy, dx) = (&dy[..rows * outputs], &mut dx[..rows * inputs]);
        matmul::linear_backward_input(dy, w, dx, inputs, outputs, accumulate);
        Ok(())
    }

    /// Adds dyᵀ·x to dW, and the sum over the rows of dy to db.
    pub(super) fn backward_weight(
        &self,
        dy: &[T],
        x: &[T],
        dw: &mut [T],
        db: Option<&mut [T]>,
        shape: LinearShape,
    ) -> Result<(), CpuError> {
        let LinearShape { rows, inputs, outputs } = shape;
        check_len("dy", dy.len(), rows * outputs)?;
        check_len("x", x.len(), rows * inputs)?;
        check_len("dw", dw.len(), outputs * inputs)?;
        if let Some(db) = &db {
            check_len("db", db.len(), outputs)?;
        }
        #[cfg(feature = "fast")]
        if self.fast {
            let dy_t = view(dy, rows, outputs).reversed_axes();
            product(&self.pool, dy_t, view(x, rows, inputs), T::one(), view_mut(dw, outputs, inputs));
            if let Some(db) = db {
                matmul::column_sums(&dy[..rows * outputs], &mut db[..outputs]);
            }
            return Ok(());
        }
        let (dy, x) = (&dy[..rows * outputs], &x[..rows * inputs]);
        matmul::linear_backward_weight(dy, x, dw, db.map(|b| &mut b[..outputs]), inputs, outputs);
        Ok(())
    }
}
