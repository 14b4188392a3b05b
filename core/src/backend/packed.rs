//! Products x·Wᵀ with a W that was packed once for many products.
//!
//! The outputs are split into panels that are two vectors wide. A panel stores the weights input by input, those of all
//! its outputs next to each other, in the order in which a product reads them. Each output is a chain of fused
//! multiply-adds over the inputs, in blocks of [`DEPTH`]. This is also the order of `matrixmultiply`, so both give the
//! same bits for any number of rows. [`agrees`] tests this once for each backend; if the processor gives different
//! bits, weights are not packed.

use alloc::vec;
use alloc::vec::Vec;

use super::Pool;
use super::product::{product, view, view_mut};
use crate::Real;
use crate::kernel::panel::{DEPTH, Product};

/// Packs W (outputs, inputs) into panels, the last of which is padded with zeros. Returns `None` on a machine without
/// fused vector instructions.
pub(crate) fn pack<T: Real>(w: &[T], inputs: usize, outputs: usize) -> Option<Vec<T>> {
    let width = T::panel_width()?;
    let mut packed = vec![T::zero(); outputs.next_multiple_of(width) * inputs];
    for (panel, w) in packed.chunks_exact_mut(width * inputs).zip(w.chunks(width * inputs)) {
        for (column, w) in w.chunks_exact(inputs).enumerate() {
            for (to, &w) in panel[column..].iter_mut().step_by(width).zip(w) {
                *to = w;
            }
        }
    }
    Some(packed)
}

/// Returns whether a packed product gives the same bits as `matrixmultiply` on this processor. It must, because
/// completions are sampled with one and scored with the other.
pub(crate) fn agrees<T: Real>() -> bool {
    let (rows, inputs, outputs) = (3, DEPTH + 5, 33);
    let numbers = |n: usize, salt: usize| (0..n).map(|i| T::one() / T::of_usize(i * 7 % 31 + salt)).collect::<Vec<T>>();
    let (x, w) = (numbers(rows * inputs, 2), numbers(outputs * inputs, 3));
    let Some(packed) = pack(&w, inputs, outputs) else { return false };
    let [mut y, mut plain] = [(); 2].map(|()| vec![T::zero(); rows * outputs]);
    T::multiply_packed(Product { x: &x, w: &packed, y: &mut y, inputs, outputs, accumulate: false });
    let w = view(&w, outputs, inputs).reversed_axes();
    product(&Pool::serial(), view(&x, rows, inputs), w, T::zero(), view_mut(&mut plain, rows, outputs));
    y == plain
}
