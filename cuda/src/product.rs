//! Descriptions of matrix products in cuBLASLt's column-major terms. The emulator multiplies by the same descriptions,
//! so a wrong one shows without a GPU.

use flowrl_core::backend::{CpuError, LinearShape, check_len};

use crate::notice;
use crate::unit::Storage;

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
    const fn new(name: &'static str, stored_rows: usize, stored_columns: usize, transposed: bool) -> Self {
        Self { name, stored_rows, stored_columns, transposed }
    }

    pub(crate) const fn len(self) -> usize {
        self.stored_rows * self.stored_columns
    }

    /// Returns the distances from one row to the next and from one column to the next, after transposition.
    pub(crate) const fn strides(self) -> [isize; 2] {
        let stored = self.stored_rows as isize;
        if self.transposed { [stored, 1] } else { [1, stored] }
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
    /// Storage types of A and B, and of C.
    pub(crate) storages: [Storage; 2],
}

impl Product {
    /// Describes y = x·Wᵀ + b, which is yᵀ = W·xᵀ in columns.
    pub(crate) const fn forward(shape: LinearShape, storages: [Storage; 2], bias: bool, accumulate: bool) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        let (a, b) = (Matrix::new("w", inputs, outputs, true), Matrix::new("x", inputs, rows, false));
        Self { rows: outputs, inner: inputs, columns: rows, a, b, c: "y", bias, accumulate, storages }
    }

    /// Describes dx = dy·W, which is dxᵀ = Wᵀ·dyᵀ in columns.
    pub(crate) const fn backward_input(shape: LinearShape, storages: [Storage; 2], accumulate: bool) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        let (a, b) = (Matrix::new("w", inputs, outputs, false), Matrix::new("dy", outputs, rows, false));
        Self { rows: inputs, inner: outputs, columns: rows, a, b, c: "dx", bias: false, accumulate, storages }
    }

    /// Describes dW += dyᵀ·x, which is dWᵀ += xᵀ·dy in columns.
    pub(crate) const fn backward_weight(shape: LinearShape, storages: [Storage; 2]) -> Self {
        let LinearShape { rows, inputs, outputs } = shape;
        let (a, b) = (Matrix::new("x", inputs, rows, false), Matrix::new("dy", outputs, rows, true));
        Self { rows: inputs, inner: rows, columns: outputs, a, b, c: "dw", bias: false, accumulate: true, storages }
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

/// A way to compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Computed by cuBLASLt.
    Library {
        /// Whether a kernel first writes the bias into C, and the library adds the product to it without an epilogue.
        bias_before: bool,
        /// Whether the library may choose any reduction of partial sums, even one in the result's type.
        any_reduction: bool,
    },
    /// Computed by a kernel of this crate.
    OwnKernel,
}

impl Way {
    /// All ways, in the order in which they are tried.
    pub(crate) const ALL: [Self; 5] = [
        Self::Library { bias_before: false, any_reduction: false },
        Self::Library { bias_before: false, any_reduction: true },
        Self::Library { bias_before: true, any_reduction: false },
        Self::Library { bias_before: true, any_reduction: true },
        Self::OwnKernel,
    ];

    /// Returns whether this way suits a product. Writing a bias into C first would lose the contents of C.
    const fn fits(self, product: &Product) -> bool {
        match self {
            Self::Library { bias_before: true, .. } => product.bias && !product.accumulate,
            _ => true,
        }
    }

    /// Returns the way to try after this one. The last way takes everything.
    pub(crate) fn next(self, product: &Product) -> Self {
        let mut later = Self::ALL.into_iter().skip_while(|way| *way != self).skip(1);
        later.find(|way| way.fits(product)).unwrap_or(Self::OwnKernel)
    }

    /// Describes to the user how this way computes a product.
    const fn describe(self) -> &'static str {
        match self {
            Self::Library { bias_before: false, any_reduction: false } => "as described",
            Self::Library { bias_before: false, any_reduction: true } => {
                "with partial sums combined as the library chooses"
            }
            Self::Library { bias_before: true, any_reduction: false } => "with the bias added by a kernel of FlowRL",
            Self::Library { bias_before: true, any_reduction: true } => {
                "with the bias added by a kernel of FlowRL and partial sums combined as the library chooses"
            }
            Self::OwnKernel => "by a kernel of FlowRL, slowly",
        }
    }

    /// Reports, once for each way, that a product is computed this way because the library refused others.
    pub(crate) fn tell(self, product: &Product, refusal: &str) {
        let Product { rows, inner, columns, bias, accumulate, storages: [inputs, output], .. } = *product;
        let bias = if bias { ", with a bias" } else { "" };
        let added = if accumulate { ", added to what is there" } else { "" };
        let text = format!(
            "cuBLASLt refuses a product of {rows}×{inner} by {inner}×{columns}, {} to {}{bias}{added} ({refusal}): it is computed \
             {}, and so is every later product that is refused this way",
            inputs.name(),
            output.name(),
            self.describe()
        );
        notice::say(self.describe(), &text);
    }

    /// Returns the product to request from the library.
    pub(crate) const fn apply(self, product: &Product) -> Product {
        match self {
            Self::Library { bias_before: true, .. } => Product { bias: false, accumulate: true, ..*product },
            _ => *product,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_product_comes_to_the_kernel_that_takes_all() {
        let shape = LinearShape { rows: 3, inputs: 4, outputs: 1 };
        let ways = |product: &Product| {
            let mut ways = vec![Way::ALL[0]];
            while ways[ways.len() - 1] != Way::OwnKernel {
                ways.push(ways[ways.len() - 1].next(product));
            }
            ways
        };
        assert_eq!(ways(&Product::forward(shape, [Storage::F32; 2], true, false)), Way::ALL);
        // Writing the bias into C first would overwrite the C that the product is added to.
        let short = [Way::ALL[0], Way::ALL[1], Way::OwnKernel];
        assert_eq!(ways(&Product::forward(shape, [Storage::F32; 2], true, true)), short);
        assert_eq!(ways(&Product::backward_weight(shape, [Storage::F32; 2])), short);
    }

    #[test]
    fn a_bias_that_is_there_before_is_added_to() {
        let product = Product::forward(LinearShape { rows: 3, inputs: 4, outputs: 1 }, [Storage::F32; 2], true, false);
        let asked = Way::ALL[2].apply(&product);
        assert_eq!((asked.bias, asked.accumulate, asked.rows), (false, true, 1));
        assert_eq!(Way::ALL[1].apply(&product), product);
    }
}
