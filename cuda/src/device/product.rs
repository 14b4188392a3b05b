//! Matrix products, by cuBLASLt on a GPU and on the CPU in the emulator.

use super::memory::{Block, Memory, driver, elsewhere};
use super::open::Device;
use crate::error::Result;
use crate::product::{Matrix, Product, Way};
use crate::unit::Storage;

/// The memory of a product's matrices.
#[derive(Debug)]
pub(crate) struct Operands<'a> {
    pub(crate) a: &'a Memory,
    pub(crate) b: &'a Memory,
    pub(crate) bias: Option<&'a Memory>,
    pub(crate) c: &'a mut Memory,
}

impl Device {
    /// Returns the present way to compute products of this shape.
    pub(crate) fn way(&self, product: &Product) -> Way {
        match self {
            Self::Nvidia(gpu) => gpu.blas.way(product),
            Self::Emulated(_) => Way::ALL[0],
        }
    }

    /// Computes C = A·B (+ bias) (+ C), as `product` describes, by the library and in this way. If the library refuses
    /// that, nothing is computed, and the next way is returned with the library's reason.
    pub(crate) fn multiply(
        &self,
        product: &Product,
        way: Way,
        Operands { a, b, bias, c }: Operands<'_>,
    ) -> Result<Option<(Way, String)>> {
        let [inputs, output] = product.storages;
        let bytes = product.rows * product.columns * output.bytes();
        let addresses = [
            self.address(a, product.a.len() * inputs.bytes())?,
            self.address(b, product.b.len() * inputs.bytes())?,
            bias.map_or(Ok(0), |bias| self.address(bias, product.rows * output.bytes()))?,
            self.address(c, bytes)?,
        ];
        match (self, a, b, bias, c) {
            // Empty sums are zero. An accumulating product adds them, which changes nothing.
            _ if product.is_empty() && product.accumulate => Ok(None),
            (.., c) if product.is_empty() => self.clear(c, bytes).map(|()| None),
            (Self::Nvidia(gpu), ..) => {
                gpu.stream.context().bind_to_thread().map_err(driver("use the device"))?;
                // SAFETY: the lengths are checked, the memory is borrowed, and the context is current on this thread.
                match unsafe { gpu.blas.multiply(&gpu.stream, product, way, addresses) } {
                    Ok(()) => Ok(None),
                    Err(error) => {
                        let refusal = format!("{:?}", error.0);
                        gpu.blas.next(product, way, error).map(|way| Some((way, refusal)))
                    }
                }
            }
            (_, Memory::Emulated(a), Memory::Emulated(b), bias, Memory::Emulated(c)) => {
                let sums = sums(product, elements(a, inputs, product.a), elements(b, inputs, product.b));
                let bias = match bias {
                    Some(Memory::Emulated(bias)) => Some(bias.as_slice()),
                    _ => None,
                };
                let width = output.bytes();
                for (i, (sum, c)) in sums.iter().zip(c.as_mut_slice().chunks_exact_mut(width)).enumerate() {
                    let before = if product.accumulate { output.decode(c) } else { 0.0 };
                    let bias = bias.map_or(0.0, |bias| output.decode(&bias[i % product.rows * width..][..width]));
                    output.encode(before + sum + bias, c);
                }
                Ok(None)
            }
            _ => Err(elsewhere()),
        }
    }
}

/// Returns a matrix's elements as f32.
fn elements(block: &Block, storage: Storage, matrix: Matrix) -> Vec<f32> {
    let elements = block.as_slice().chunks_exact(storage.bytes()).map(|bytes| storage.decode(bytes));
    elements.take(matrix.len()).collect()
}

/// Returns A·B column by column, for matrices as long as `product` describes.
fn sums(product: &Product, a: Vec<f32>, b: Vec<f32>) -> Vec<f32> {
    let Product { rows, inner, columns, a: of_a, b: of_b, .. } = *product;
    let mut sums = vec![0.0_f32; rows * columns];
    assert!((a.len(), b.len()) == (of_a.len(), of_b.len()), "the caller checks lengths");
    let (to, distance) = (sums.as_mut_ptr(), rows as isize);
    let ([a_row, a_column], [b_row, b_column]) = (of_a.strides(), of_b.strides());
    let (a, b) = (a.as_ptr(), b.as_ptr());
    // SAFETY: `a` and `b` hold their whole matrices and `sums` has rows × columns elements.
    unsafe {
        matrixmultiply::sgemm(rows, inner, columns, 1.0, a, a_row, a_column, b, b_row, b_column, 0.0, to, 1, distance);
    }
    sums
}
