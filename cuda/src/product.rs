//! Descriptions of matrix products in cuBLASLt's column-major terms. The emulator multiplies by the same descriptions,
//! so a wrong one shows without a GPU.

use flowrl_core::backend::{CpuError, LinearShape, check_len};

/// A matrix operand in column-major storage. A row-major (r, c) matrix is stored as a column-major (c, r) one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matrix {
    /// Name of the argument, for errors.
    pub(crate) name: &'static str,
    pub(crate) stored_rows: usize,
    pub(crate) stored_columns: usize,
    /// Whether the product uses the transpose of the matrix.
    pub(crate) transposed: bool,
}

impl Matrix {
    pub(crate) const fn len(self) -> usize {
        self.stored_rows * self.stored_columns
    }

    /// Returns the distance from one row to the next, after transposition.
    pub(crate) const fn row_stride(self) -> isize {
        if self.transposed { self.stored_rows as isize } else { 1 }
    }

    /// Returns the distance from one column to the next, after transposition.
    pub(crate) const fn column_stride(self) -> isize {
        if self.transposed { 1 } else { self.stored_rows as isize }
    }
}

/// The product C (rows, columns) = A (rows, inner)·B (inner, columns), column-major, optionally with a bias (rows)
/// added to every column or with C added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Product {
    pub(crate) rows: usize,
    pub(crate) inner: usize,
    pub(crate) columns: usize,
    pub(crate) a: Matrix,
    pub(crate) b: Matrix,
    pub(crate) c: &'static str,
    pub(crate) bias: bool,
    pub(crate) accumulate: bool,
}

impl Product {
    /// Describes y = x·Wᵀ + b, which is yᵀ = W·xᵀ in columns.
    pub(crate) const fn forward(shape: LinearShape, bias: bool, accumulate: bool) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        Self {
            rows: outputs,
            inner: inputs,
            columns: rows,
            a: Matrix { name: "w", stored_rows: inputs, stored_columns: outputs, transposed: true },
            b: Matrix { name: "x", stored_rows: inputs, stored_columns: rows, transposed: false },
            c: "y",
            bias,
            accumulate,
        }
    }

    /// Describes dx = dy·W, which is dxᵀ = Wᵀ·dyᵀ in columns.
    pub(crate) const fn backward_input(shape: LinearShape, accumulate: bool) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        Self {
            rows: inputs,
            inner: outputs,
            columns: rows,
            a: Matrix { name: "w", stored_rows: inputs, stored_columns: outputs, transposed: false },
            b: Matrix { name: "dy", stored_rows: outputs, stored_columns: rows, transposed: false },
            c: "dx",
            bias: false,
            accumulate,
        }
    }

    /// Describes dW += dyᵀ·x, which is dWᵀ += xᵀ·dy in columns.
    pub(crate) const fn backward_weight(shape: LinearShape) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        Self {
            rows: inputs,
            inner: rows,
            columns: outputs,
            a: Matrix { name: "x", stored_rows: inputs, stored_columns: rows, transposed: false },
            b: Matrix { name: "dy", stored_rows: outputs, stored_columns: rows, transposed: true },
            c: "dw",
            bias: false,
            accumulate: true,
        }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rows == 0 || self.columns == 0 || self.inner == 0
    }

    /// Checks the lengths of the buffers.
    pub(crate) fn check(&self, a: usize, b: usize, bias: Option<usize>, c: usize) -> Result<(), CpuError> {
        check_len(self.a.name, a, self.a.len())?;
        check_len(self.b.name, b, self.b.len())?;
        check_len(self.c, c, self.rows * self.columns)?;
        if self.bias && self.inner == 0 {
            return Err(CpuError::Rule { argument: "shape.inputs", index: 0, rule: "be above 0 if there is a bias" });
        }
        bias.map_or(Ok(()), |bias| check_len("bias", bias, self.rows))
    }
}

#[cfg(test)]
mod tests {
    use flowrl_core::backend::{Backend, Role};

    use super::*;
    use crate::buffer::Buffer;
    use crate::launch;
    use crate::{CudaBackend, EmulatorOptions, Precision, Schedule};

    /// Fills a buffer with integers small enough that every order of summation gives the same sum.
    fn whole(device: &CudaBackend, role: Role, len: usize, seed: usize) -> Buffer {
        let values: Vec<f32> = (0..len).map(|i| ((i * i * 7 + i * seed + i / 5) % 5) as f32 - 2.0).collect();
        let mut buffer = device.zeros_for(role, len).unwrap();
        device.write(&mut buffer, 0, &values).unwrap();
        buffer
    }

    fn numbers(device: &CudaBackend, buffer: &Buffer) -> Vec<f32> {
        let mut numbers = vec![0.0; buffer.len];
        device.read(buffer, 0, &mut numbers).unwrap();
        numbers
    }

    /// The fallback for cuBLASLt gives the same numbers within a tile, at its borders, over several tiles, and with one
    /// row or column.
    #[test]
    fn the_own_kernel_multiplies_as_described() {
        for (precision, schedule) in [(Precision::F32, Schedule::Random(1)), (Precision::Bf16, Schedule::Reverse)] {
            let device = CudaBackend::emulated(EmulatorOptions { schedule, ..EmulatorOptions::default() }, precision);
            for (rows, inputs, outputs) in [(1, 1, 1), (33, 32, 1), (1, 70, 31), (32, 5, 65), (40, 33, 32)] {
                let shape = LinearShape { rows, inputs, outputs };
                let products = [
                    (Product::forward(shape, false, false), Role::Activation),
                    (Product::forward(shape, true, false), Role::Activation),
                    (Product::forward(shape, true, true), Role::Activation),
                    (Product::backward_input(shape, true), Role::Activation),
                    // The result is f32, as for gradients of weights.
                    (Product::backward_weight(shape), Role::State),
                ];
                for (product, role) in products {
                    let a = whole(&device, Role::Activation, product.a.len(), 1);
                    let b = whole(&device, Role::Activation, product.b.len(), 3);
                    let bias = product.bias.then(|| whole(&device, role, product.rows, 4));
                    let [mut want, mut got] = [(); 2].map(|()| whole(&device, role, product.rows * product.columns, 2));
                    device.device.multiply(&product, &a, &b, bias.as_ref(), &mut want).unwrap();
                    launch::multiply_by_own_kernel(&device.device, &product, &a, &b, bias.as_ref(), &mut got).unwrap();
                    assert_eq!(numbers(&device, &got), numbers(&device, &want), "{precision:?}, {product:?}");
                }
            }
        }
    }

    #[test]
    fn a_bias_is_put_into_every_row() {
        for precision in [Precision::F32, Precision::Bf16] {
            let device = CudaBackend::emulated(EmulatorOptions::default(), precision);
            for (rows, columns) in [(1, 1), (3, 31), (2, 1500)] {
                let bias = whole(&device, Role::Activation, columns, 6);
                let mut y = whole(&device, Role::Activation, rows * columns + 1, 2);
                let last = numbers(&device, &y)[rows * columns];
                launch::put_bias(&device.device, &bias, &mut y, rows, columns).unwrap();
                let want = [numbers(&device, &bias).repeat(rows), vec![last]].concat();
                assert_eq!(numbers(&device, &y), want);
            }
        }
    }
}
