//! cuBLASLt's matrix products as its documentation describes them: <https://docs.nvidia.com/cuda/cublas>, "Using the
//! cuBLASLt API".
//!
//! A product computes D = α·op(A)·op(B) + β·C and then the epilogue. Sums are in f32 and are rounded to the type of D
//! once, or more often if the program's preference allows it.

use std::collections::BTreeMap;

use cudarc::cublaslt::sys::cublasComputeType_t::{self, CUBLAS_COMPUTE_32F};
use cudarc::cublaslt::sys::cublasLtReductionScheme_t::{
    CUBLASLT_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE,
};
use cudarc::cublaslt::sys::cudaDataType_t::{self, CUDA_R_16BF, CUDA_R_32F};

use crate::limits::Refused;
use crate::matrix::Layout;

/// The description of a product apart from its shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) transpose_a: bool,
    pub(crate) transpose_b: bool,
    /// Whether the epilogue adds a bias, one number for each row of D, to each column.
    pub(crate) has_bias: bool,
    /// Address of the bias.
    pub(crate) bias: u64,
}

impl Description {
    pub(crate) fn new(compute: cublasComputeType_t, scale: cudaDataType_t) -> Result<Self, String> {
        if compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F {
            return Err(format!("the stand-in does not support {compute:?} with scales of {scale:?}"));
        }
        Ok(Self { transpose_a: false, transpose_b: false, has_bias: false, bias: 0 })
    }
}

/// The program's requirements on an algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preference {
    /// Largest workspace in bytes.
    pub(crate) workspace: usize,
    /// The schemes by which partial sums may be reduced: a set of `cublasLtReductionScheme_t`, all by default.
    pub(crate) reductions: u32,
}

impl Default for Preference {
    fn default() -> Self {
        Self { workspace: 0, reductions: CUBLASLT_REDUCTION_SCHEME_MASK as u32 }
    }
}

/// The checked description and layouts of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) description: Description,
    /// The layouts of A, B, C and D.
    pub(crate) layouts: [Layout; 4],
}

impl Shape {
    pub(crate) fn new(description: Description, layouts: [Layout; 4]) -> Result<Self, String> {
        let [a, b, c, d] = layouts;
        let ((m, k), (inner, n)) = (a.shape(description.transpose_a), b.shape(description.transpose_b));
        if k != inner || (d.rows, d.columns) != (m, n) || (c.rows, c.columns) != (m, n) {
            let (c, d) = ((c.rows, c.columns), (d.rows, d.columns));
            return Err(format!("op(A) is {m}×{k}, op(B) {inner}×{n}, C {}×{}, D {}×{}", c.0, c.1, d.0, d.1));
        }
        // The types that cuBLASLt's documentation lists for sums in f32, as far as FlowRL uses them.
        let types = [a, b, c, d].map(|layout| layout.element);
        match types {
            [CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F]
            | [CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF]
            | [CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUDA_R_32F] => Ok(Self { description, layouts }),
            _ => Err(format!("no product has the types {types:?}")),
        }
    }

    /// Returns this shape for any address of the bias.
    fn without_address(self) -> Self {
        Self { description: Description { bias: 0, ..self.description }, ..self }
    }

    /// Returns whether D has one row, to which a bias is added.
    pub(crate) const fn is_one_row_with_bias(&self) -> bool {
        self.description.has_bias && self.layouts[3].rows == 1
    }

    /// Returns whether the library should find no algorithm for the product.
    pub(crate) fn is_refused(&self, preference: Preference, refused: Refused) -> bool {
        let is_odd = |layout: &Layout| layout.element == CUDA_R_16BF && layout.leading % 2 == 1;
        refused.everything
            || (refused.bias && self.is_one_row_with_bias())
            || (refused.odd && self.layouts.iter().any(is_odd))
            || (refused.reductions && preference.reductions != Preference::default().reductions)
    }

    /// Returns the (address, bytes) of each argument that the product uses. Fails if D shares memory with anything but
    /// C, or with C in another layout.
    pub(crate) fn uses(&self, [a, b, c, d]: [u64; 4], beta: f32) -> Result<Vec<(u64, usize)>, String> {
        let [of_a, of_b, of_c, of_d] = self.layouts;
        let mut read = vec![(a, of_a.bytes()), (b, of_b.bytes())];
        if beta != 0.0 && c != d {
            read.push((c, of_c.bytes()));
        }
        if c == d && of_c != of_d {
            return Err("C and D at one address with two layouts".to_owned());
        }
        if self.description.has_bias {
            // The epilogue loads the bias as vectors of 16 bytes.
            if !self.description.bias.is_multiple_of(16) {
                return Err(format!("a bias at {:#x}, which is not a multiple of 16", self.description.bias));
            }
            read.push((self.description.bias, of_d.rows * of_d.width()));
        }
        let end = d + of_d.bytes() as u64;
        if read.iter().any(|&(start, bytes)| start < end && d < start + bytes as u64) {
            return Err("D shares memory with another argument".to_owned());
        }
        read.push((d, of_d.bytes()));
        Ok(read)
    }

    /// Computes the product at these addresses. C is not read if β is 0, so its NaN cannot reach D then.
    ///
    /// # Safety
    /// The matrices must lie at these addresses, and the bias at its own if there is one. D may share memory with C
    /// only.
    pub(crate) unsafe fn multiply(&self, [a, b, c, d]: [u64; 4], alpha: f32, beta: f32, in_parts: bool) {
        let [of_a, of_b, of_c, of_d] = self.layouts;
        let Description { transpose_a, transpose_b, has_bias, bias } = self.description;
        let (m, k) = of_a.shape(transpose_a);
        let n = of_d.columns;
        // SAFETY: the caller guarantees that A and B lie at these addresses.
        let (left, right) = unsafe { (of_a.dense(a), of_b.dense(b)) };
        let strides = |layout: Layout, transposed| {
            let rows = layout.rows as isize;
            if transposed { (rows, 1) } else { (1, rows) }
        };
        let ((a_row, a_column), (b_row, b_column)) = (strides(of_a, transpose_a), strides(of_b, transpose_b));
        let mut sums = vec![0.0_f32; m * n];
        let (left, right) = (left.as_ptr(), right.as_ptr());
        let first = if in_parts { k / 2 } else { k };
        for (start, end) in [(0, first), (first, k)] {
            // SAFETY: with these strides op(A) is m×k and op(B) is k×n, and `sums` is m×n.
            unsafe {
                matrixmultiply::sgemm(
                    m,
                    end - start,
                    n,
                    1.0,
                    left.offset(start as isize * a_column),
                    a_row,
                    a_column,
                    right.offset(start as isize * b_row),
                    b_row,
                    b_column,
                    1.0,
                    sums.as_mut_ptr(),
                    1,
                    m as isize,
                );
            }
            if in_parts && of_d.element == CUDA_R_16BF {
                sums.iter_mut().for_each(|sum| *sum = half::bf16::from_f32(*sum).to_f32());
            }
        }
        // The bias has the type of D.
        let of_bias = Layout { rows: m, columns: 1, leading: m, ..of_d };
        for (i, sum) in sums.iter().enumerate() {
            let (row, column) = (i % m, i / m);
            // SAFETY: the caller guarantees the addresses, and every (row, column) lies within the matrices.
            unsafe {
                let before = if beta == 0.0 { 0.0 } else { beta * of_c.read(c, row, column) };
                let bias = if has_bias { of_bias.read(bias, row, 0) } else { 0.0 };
                of_d.write(d, row, column, alpha * sum + before + bias);
            }
        }
    }
}

/// An algorithm that was chosen for a shape, for any address of the bias.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) shape: Shape,
    /// Bytes of workspace that the algorithm needs.
    pub(crate) workspace: usize,
    /// Whether the inner dimension is summed in two parts, with the sums rounded to D's type after each.
    pub(crate) in_parts: bool,
}

/// Objects that a program has created, by handle.
pub(crate) type Objects<T> = BTreeMap<u64, T>;

/// cuBLASLt's objects, and the algorithms that it has chosen.
#[derive(Default)]
pub(crate) struct Blas {
    pub(crate) opened: Objects<()>,
    pub(crate) layouts: Objects<Layout>,
    pub(crate) products: Objects<Description>,
    pub(crate) preferences: Objects<Preference>,
    pub(crate) choices: Vec<Choice>,
}

impl Blas {
    /// Chooses an algorithm for a shape and returns its number. It needs up to 1 MiB of the allowed workspace, and sums
    /// in parts if the preference allows it, so that tests notice both.
    pub(crate) fn choose(&mut self, shape: Shape, preference: Preference) -> (usize, Choice) {
        const WORKSPACE: usize = 1 << 20;
        let choice = Choice {
            shape: shape.without_address(),
            workspace: WORKSPACE.min(preference.workspace),
            in_parts: preference.reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE as u32 != 0,
        };
        self.choices.push(choice);
        (self.choices.len() - 1, choice)
    }

    /// Checks that an algorithm is used for the shape, alignments and workspace that it was chosen for.
    pub(crate) fn check(
        &self,
        number: usize,
        shape: Shape,
        addresses: [u64; 4],
        workspace: (u64, usize),
    ) -> Result<Choice, String> {
        let choice = self.choices.get(number).ok_or("an algorithm that was never chosen")?;
        if shape.without_address() != choice.shape {
            return Err("the algorithm was chosen for another shape".to_owned());
        }
        // Algorithms rely on this alignment unless the program's preference names a smaller one.
        let is_aligned = |(_, address): &(&str, u64)| address.is_multiple_of(256);
        if let Some((name, address)) = ["A", "B", "C", "D"].into_iter().zip(addresses).find(|place| !is_aligned(place))
        {
            return Err(format!("{name} at {address:#x}, for an algorithm that needs multiples of 256"));
        }
        if choice.workspace > workspace.1 || !workspace.0.is_multiple_of(256) {
            return Err(format!(
                "a workspace of {} bytes at {:#x}, for an algorithm that needs {}, aligned to 256",
                workspace.1, workspace.0, choice.workspace
            ));
        }
        Ok(*choice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: u64 = 0x10_0000;
    const B: u64 = 0x20_0000;
    const C: u64 = 0x30_0000;
    const D: u64 = 0x40_0000;
    const ADDRESSES: [u64; 4] = [A, B, C, D];

    fn layout(element: cudaDataType_t, rows: u64, columns: u64, leading: i64) -> Layout {
        Layout::new(element, rows, columns, leading).unwrap()
    }

    fn description(transpose_a: bool, transpose_b: bool, has_bias: bool) -> Description {
        Description { transpose_a, transpose_b, has_bias, bias: 0 }
    }

    /// Returns a product of 2×3 by 3×4, with operands of type `element` and a result of type `result`.
    fn shape(element: cudaDataType_t, result: cudaDataType_t, description: Description) -> Result<Shape, String> {
        let of_a = if description.transpose_a { layout(element, 3, 2, 3) } else { layout(element, 2, 3, 2) };
        let of_b = if description.transpose_b { layout(element, 4, 3, 4) } else { layout(element, 3, 4, 3) };
        Shape::new(description, [of_a, of_b, layout(result, 2, 4, 2), layout(result, 2, 4, 2)])
    }

    #[test]
    fn shapes_and_types_are_checked() {
        let plain = description(false, false, false);
        assert!(shape(CUDA_R_32F, CUDA_R_32F, plain).is_ok());
        assert!(shape(CUDA_R_16BF, CUDA_R_32F, plain).is_ok());
        assert!(shape(CUDA_R_32F, CUDA_R_16BF, plain).unwrap_err().contains("no product has the types"));
        let [of_a, of_b, of_c, of_d] = shape(CUDA_R_32F, CUDA_R_32F, plain).unwrap().layouts;
        let transposed = Shape::new(description(true, false, false), [of_a, of_b, of_c, of_d]);
        assert!(transposed.unwrap_err().contains("op(A) is 3×2, op(B) 3×4"));
        assert!(Shape::new(plain, [of_a, of_b, of_c, layout(CUDA_R_32F, 4, 2, 4)]).is_err());
        assert!(Description::new(cublasComputeType_t::CUBLAS_COMPUTE_16F, CUDA_R_32F).is_err());
    }

    #[test]
    fn what_is_refused_is_told_apart() {
        let shape = |element, rows, has_bias| {
            let (of_a, of_b) = (layout(element, rows, 2, rows as i64), layout(element, 2, 4, 2));
            let of_d = layout(element, rows, 4, rows as i64);
            Shape::new(description(false, false, has_bias), [of_a, of_b, of_d, of_d]).unwrap()
        };
        let (usual, limited) = (Preference::default(), Preference { reductions: 2, ..Preference::default() });
        let none = Refused::default();
        let cases = [
            (Refused { bias: true, ..none }, shape(CUDA_R_32F, 1, true), usual, true),
            (Refused { bias: true, ..none }, shape(CUDA_R_32F, 2, true), usual, false),
            (Refused { bias: true, ..none }, shape(CUDA_R_32F, 1, false), usual, false),
            (Refused { odd: true, ..none }, shape(CUDA_R_16BF, 3, false), usual, true),
            (Refused { odd: true, ..none }, shape(CUDA_R_32F, 3, false), usual, false),
            (Refused { odd: true, ..none }, shape(CUDA_R_16BF, 4, false), usual, false),
            (Refused { reductions: true, ..none }, shape(CUDA_R_32F, 2, false), limited, true),
            (Refused { reductions: true, ..none }, shape(CUDA_R_32F, 2, false), usual, false),
            (Refused { everything: true, ..none }, shape(CUDA_R_32F, 2, false), usual, true),
            (none, shape(CUDA_R_16BF, 1, true), limited, false),
        ];
        for (refused, shape, preference, wanted) in cases {
            assert_eq!(shape.is_refused(preference, refused), wanted, "{refused:?}, {shape:?}");
        }
    }

    #[test]
    fn an_algorithm_is_used_as_it_was_chosen() {
        let plain = shape(CUDA_R_32F, CUDA_R_32F, description(false, false, false)).unwrap();
        let mut blas = Blas::default();
        let (number, choice) = blas.choose(plain, Preference { workspace: 1000, ..Preference::default() });
        assert_eq!(choice.workspace, 1000);
        let check = |shape, addresses, workspace| blas.check(number, shape, addresses, workspace).map(drop);
        check(plain, ADDRESSES, (0x50_0000, 1000)).unwrap();
        assert!(check(plain, ADDRESSES, (0x50_0000, 999)).unwrap_err().contains("a workspace of 999 bytes"));
        assert!(check(plain, ADDRESSES, (0x50_0010, 1000)).unwrap_err().contains("aligned to 256"));
        assert!(check(plain, [A, B + 16, C, D], (0x50_0000, 1000)).unwrap_err().contains("B at 0x200010"));
        let other = shape(CUDA_R_16BF, CUDA_R_32F, description(false, false, false)).unwrap();
        assert!(check(other, ADDRESSES, (0x50_0000, 1000)).unwrap_err().contains("another shape"));
        // Each call may have its own bias.
        let biased = shape(CUDA_R_32F, CUDA_R_32F, description(false, false, true)).unwrap();
        let (number, choice) = blas.choose(biased, Preference::default());
        let bias = Description { bias: 0x60_0000, ..biased.description };
        assert_eq!(choice.workspace, 0);
        blas.check(number, Shape { description: bias, ..biased }, ADDRESSES, (0, 0)).unwrap();
        assert!(blas.check(7, plain, ADDRESSES, (0, 0)).unwrap_err().contains("never chosen"));
    }

    #[test]
    fn results_share_memory_with_nothing_but_c() {
        let plain = shape(CUDA_R_32F, CUDA_R_32F, description(false, false, false)).unwrap();
        assert_eq!(plain.uses(ADDRESSES, 1.0).unwrap(), [(A, 24), (B, 48), (C, 32), (D, 32)]);
        assert_eq!(plain.uses([A, B, D, D], 1.0).unwrap(), [(A, 24), (B, 48), (D, 32)]);
        assert!(plain.uses([A, D + 16, C, D], 0.0).unwrap_err().contains("shares memory"));
        assert!(plain.uses([A, B, D + 16, D], 1.0).unwrap_err().contains("shares memory"));
        // With β = 0, C is not read, so its address does not matter.
        plain.uses([A, B, 1, D], 0.0).unwrap();
        let [of_a, of_b, of_c, _] = plain.layouts;
        let apart = Shape::new(plain.description, [of_a, of_b, of_c, layout(CUDA_R_32F, 2, 4, 3)]).unwrap();
        assert!(apart.uses([A, B, D, D], 0.0).unwrap_err().contains("two layouts"));
        let bias = Description { bias: 0x60_0004, ..description(false, false, true) };
        assert!(
            Shape { description: bias, ..plain }.uses(ADDRESSES, 0.0).unwrap_err().contains("not a multiple of 16")
        );
    }

    /// The expected sums are computed by hand for A = [1 3 5; 2 4 6] and B = [1 0 2 1; 0 1 1 1; 1 1 0 1].
    #[test]
    fn products_are_those_of_the_documentation() {
        let (a, a_transposed) = ([1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0_f32, 3.0, 5.0, 2.0, 4.0, 6.0]);
        let b = [1.0_f32, 0.0, 1.0, 0.0, 1.0, 1.0, 2.0, 1.0, 0.0, 1.0, 1.0, 1.0];
        let b_transposed = [1.0_f32, 0.0, 2.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0];
        let sums = [6.0_f32, 8.0, 8.0, 10.0, 5.0, 8.0, 9.0, 12.0];
        let bias = [100.0_f32, 200.0];
        let at = |numbers: &[f32]| numbers.as_ptr() as u64;
        for (transpose_a, transpose_b) in [(false, false), (true, false), (false, true), (true, true)] {
            let description = Description { bias: at(&bias), ..description(transpose_a, transpose_b, true) };
            let shape = shape(CUDA_R_32F, CUDA_R_32F, description).unwrap();
            let left = at(if transpose_a { &a_transposed } else { &a });
            let right = at(if transpose_b { &b_transposed } else { &b });
            let mut d = [f32::NAN; 8];
            let to = d.as_mut_ptr() as u64;
            // SAFETY: the matrices have these shapes, and D is C.
            unsafe { shape.multiply([left, right, to, to], 1.0, 0.0, false) };
            let wanted = |i: usize| sums[i] + bias[i % 2];
            assert!((0..8).all(|i| d[i] == wanted(i)), "with β = 0, NaN in C does not reach D: {d:?}");
            // SAFETY: the matrices have these shapes, and D is C.
            unsafe { shape.multiply([left, right, to, to], 2.0, 1.0, false) };
            assert!((0..8).all(|i| d[i] == 2.0 * sums[i] + wanted(i) + bias[i % 2]), "{d:?}");
        }
    }

    #[test]
    fn sums_are_f32_and_rounded_once() {
        let number = |x: f32| half::bf16::from_f32(x).to_bits();
        // 256 + 1 needs nine bits and bf16 has eight, so the rounded first part (256 + 1) loses its 1. The second part
        // (1 + 0) is then lost as well.
        let (a, b) = ([256.0, 1.0, 1.0, 0.0].map(number), [number(1.0); 4]);
        let [of_a, of_b] = [layout(CUDA_R_16BF, 1, 4, 1), layout(CUDA_R_16BF, 4, 1, 4)];
        let of_d = layout(CUDA_R_16BF, 1, 1, 1);
        let shape = Shape::new(description(false, false, false), [of_a, of_b, of_d, of_d]).unwrap();
        let product = |in_parts| {
            let mut d = [0_u16];
            let to = d.as_mut_ptr() as u64;
            // SAFETY: the matrices have these shapes.
            unsafe { shape.multiply([a.as_ptr() as u64, b.as_ptr() as u64, to, to], 1.0, 0.0, in_parts) };
            half::bf16::from_bits(d[0]).to_f32()
        };
        assert_eq!((product(false), product(true)), (258.0, 256.0));
    }

    #[test]
    fn columns_lie_apart() {
        let a = [1.0_f32, f32::NAN, 2.0];
        let shape = |leading| {
            let of_a = layout(CUDA_R_32F, 1, 2, 2);
            let of_b = layout(CUDA_R_32F, 2, 2, 2);
            let of_d = layout(CUDA_R_32F, 1, 2, leading);
            Shape::new(description(false, false, false), [of_a, of_b, of_d, of_d]).unwrap()
        };
        let b = [1.0_f32, 1.0, 0.0, 1.0];
        let mut d = [7.0_f32; 4];
        let to = d.as_mut_ptr() as u64;
        // SAFETY: the matrices have these shapes.
        unsafe { shape(3).multiply([a.as_ptr() as u64, b.as_ptr() as u64, to, to], 1.0, 0.0, false) };
        assert_eq!(d, [3.0, 7.0, 7.0, 2.0]);
    }
}
