//! Matrix products and sums of columns.

use super::CudaBackend;
use crate::buffer::Buffer;
use crate::device::Operands;
use crate::error::Result;
use crate::kernels;
use crate::product::{Product, Way};
use crate::unit::Storage;

/// Greatest number of parts for a sum over rows.
const PARTS: usize = 256;

/// Returns the number of parts for a sum over rows, which depends only on the number of rows: parts of 64 rows, or
/// longer ones if those would be too many.
pub(crate) fn parts(rows: usize) -> usize {
    rows.div_ceil(64).clamp(1, PARTS)
}

impl CudaBackend {
    /// Computes C = A·B (+ bias) (+ C), as `product` describes. Products that the library refuses are computed in other
    /// ways, the last of which is a kernel of this crate.
    pub(super) fn multiply(
        &self,
        product: &Product,
        a: &Buffer,
        b: &Buffer,
        bias: Option<&Buffer>,
        c: &mut Buffer,
    ) -> Result<()> {
        product.check(a.len, b.len, bias.map(|bias| bias.len), c.len)?;
        b.check_storage(product.b.name, a.storage)?;
        // A product of f32 matrices is f32, one of bf16 either type. cuBLASLt needs the bias in the type of the result.
        if a.storage == Storage::F32 {
            c.check_storage(product.c, Storage::F32)?;
        }
        bias.map_or(Ok(()), |bias| bias.check_storage("bias", c.storage))?;
        let (mut way, mut told) = (self.device.way(product), None);
        loop {
            let refused = match way {
                Way::OwnKernel => self.multiply_by_own_kernel(product, a, b, bias, c).map(|()| None)?,
                Way::Library { bias_before, .. } => {
                    if let Some(bias) = bias.filter(|_| bias_before) {
                        kernels::put_bias(&self.device, (bias, &mut *c), (product.columns, product.rows))?;
                    }
                    let bias = bias.map(|bias| &bias.memory);
                    let operands = Operands { a: &a.memory, b: &b.memory, bias, c: &mut c.memory };
                    self.device.multiply(product, way, operands)?
                }
            };
            let Some((next, refusal)) = refused else { break };
            (way, told) = (next, Some(refusal));
        }
        if let Some(refusal) = told {
            way.tell(product, &refusal);
        }
        Ok(())
    }

    /// Computes a product with a kernel of this crate, which is slow but takes every shape.
    pub(super) fn multiply_by_own_kernel(
        &self,
        product: &Product,
        a: &Buffer,
        b: &Buffer,
        bias: Option<&Buffer>,
        c: &mut Buffer,
    ) -> Result<()> {
        let Product { rows, inner, columns, .. } = *product;
        let flags = [product.a.transposed, product.b.transposed, product.accumulate].map(usize::from);
        let multiply = if a.storage == c.storage { kernels::multiply } else { kernels::multiply_to_f32 };
        multiply(&self.device, (a, b, bias, c), (rows, inner, columns, flags))
    }

    /// Adds the sum of the rows of x to `sums` (columns), with several parts in parallel if there are many rows.
    pub(super) fn add_column_sum(&self, x: &Buffer, sums: &mut Buffer, rows: usize, columns: usize) -> Result<()> {
        // So few rows need no partial sums, which would be as many.
        if rows <= PARTS {
            return kernels::column_sum(&self.device, (x, sums), (rows, columns));
        }
        let parts = parts(rows);
        let mut partial = self.scratch(parts * columns)?;
        kernels::column_sum_parts(&self.device, (x, &mut partial), (rows, columns, parts))?;
        kernels::column_sum(&self.device, (&partial, sums), (parts, columns))
    }
}
