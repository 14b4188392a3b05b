//! Matrix products as cuBLASLt sees them: in columns. The emulator multiplies what is described here, so a wrong description
//! shows without a GPU.

use flowrl_core::backend::{CpuError, LinearShape, check_len};

/// A matrix of a product. A row-major matrix (r, c) is a column-major one (c, r), which is what is stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Matrix {
    /// The argument it is.
    pub(crate) name: &'static str,
    pub(crate) stored_rows: usize,
    pub(crate) stored_columns: usize,
    /// Whether the product takes its transpose.
    pub(crate) transposed: bool,
}

impl Matrix {
    pub(crate) const fn len(self) -> usize {
        self.stored_rows * self.stored_columns
    }

    /// From a row to the next, after transposition.
    pub(crate) const fn row_stride(self) -> isize {
        if self.transposed { self.stored_rows as isize } else { 1 }
    }

    /// From a column to the next, after transposition.
    pub(crate) const fn column_stride(self) -> isize {
        if self.transposed { 1 } else { self.stored_rows as isize }
    }
}

/// C (rows, columns) = A (rows, inner)·B (inner, columns), column-major; with a bias (rows) on every column, or C added.
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
    /// y = x·Wᵀ + b, so yᵀ = W·xᵀ in columns.
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

    /// dx = dy·W, so dxᵀ = Wᵀ·dyᵀ in columns.
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

    /// dW += dyᵀ·x, so dWᵀ += xᵀ·dy in columns.
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
            return Err(CpuError::Rule {
                argument: "shape.inputs",
                index: 0,
                rule: "be above 0 where there is a bias",
            });
        }
        bias.map_or(Ok(()), |bias| check_len("bias", bias, self.rows))
    }
}
