//! cuBLASLt's matrix products as its documentation describes them: https://docs.nvidia.com/cuda/cublas, "Using the cuBLASLt API".
//!
//! D = α·op(A)·op(B) + β·C, then the epilogue. Matrices are in columns, a column `ld` elements after the one before it. Sums are f32, and
//! rounded once to the type of D, or more often where the program's preference lets them.

use std::collections::{BTreeMap, BTreeSet};

use cudarc::cublaslt::sys::cublasComputeType_t::{self, CUBLAS_COMPUTE_32F};
use cudarc::cublaslt::sys::cublasLtReductionScheme_t::{
    CUBLASLT_REDUCTION_SCHEME_MASK, CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE,
};
use cudarc::cublaslt::sys::cudaDataType_t::{self, CUDA_R_16BF, CUDA_R_32F};

/// A matrix's type and place of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) element: cudaDataType_t,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// From a column to the next.
    pub(crate) leading: usize,
}

impl Layout {
    pub(crate) fn new(element: cudaDataType_t, rows: u64, columns: u64, leading: i64) -> Result<Self, String> {
        if element != CUDA_R_32F && element != CUDA_R_16BF {
            return Err(format!("the stand-in has no matrices of {element:?}"));
        }
        let narrow = |n: u64| usize::try_from(n).map_err(|error| error.to_string());
        let layout = Self {
            element,
            rows: narrow(rows)?,
            columns: narrow(columns)?,
            leading: usize::try_from(leading).map_err(|_| format!("a leading dimension of {leading}"))?,
        };
        if layout.rows == 0 || layout.columns == 0 {
            return Err(format!("a matrix of {rows} rows and {columns} columns"));
        }
        if layout.leading < layout.rows {
            return Err(format!("a leading dimension of {leading} for {rows} rows"));
        }
        Ok(layout)
    }

    pub(crate) fn width(&self) -> usize {
        if self.element == CUDA_R_16BF { 2 } else { 4 }
    }

    /// Bytes from the first element to the end of the last.
    pub(crate) fn bytes(&self) -> usize {
        ((self.columns - 1) * self.leading + self.rows) * self.width()
    }

    /// Rows and columns of op(·).
    fn shape(&self, transposed: bool) -> (usize, usize) {
        if transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    /// The address of an element.
    fn place(&self, matrix: u64, row: usize, column: usize) -> u64 {
        matrix + ((column * self.leading + row) * self.width()) as u64
    }

    /// # Safety
    /// The matrix lies at the address, and the element in it.
    unsafe fn read(&self, matrix: u64, row: usize, column: usize) -> f32 {
        let place = self.place(matrix, row, column);
        // SAFETY: the caller's.
        unsafe {
            if self.element == CUDA_R_16BF {
                half::bf16::from_bits((place as *const u16).read()).to_f32()
            } else {
                (place as *const f32).read()
            }
        }
    }

    /// # Safety
    /// As for `read`.
    unsafe fn write(&self, matrix: u64, row: usize, column: usize, value: f32) {
        let place = self.place(matrix, row, column);
        // SAFETY: the caller's.
        unsafe {
            if self.element == CUDA_R_16BF {
                (place as *mut u16).write(half::bf16::from_f32(value).to_bits());
            } else {
                (place as *mut f32).write(value);
            }
        }
    }

    /// All elements in columns without gaps, as f32.
    ///
    /// # Safety
    /// The matrix lies at the address.
    unsafe fn dense(&self, matrix: u64) -> Vec<f32> {
        let places = (0..self.columns).flat_map(|column| (0..self.rows).map(move |row| (row, column)));
        // SAFETY: all of these are in the matrix.
        places.map(|(row, column)| unsafe { self.read(matrix, row, column) }).collect()
    }
}

/// What a product does. A null bias is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Description {
    pub(crate) transpose_a: bool,
    pub(crate) transpose_b: bool,
    /// Whether a bias, one number for each row of D, is added to each column.
    pub(crate) has_bias: bool,
    pub(crate) bias: u64,
}

impl Description {
    pub(crate) fn new(compute: cublasComputeType_t, scale: cudaDataType_t) -> Result<Self, String> {
        if compute != CUBLAS_COMPUTE_32F || scale != CUDA_R_32F {
            return Err(format!("the stand-in has no {compute:?} with scales of {scale:?}"));
        }
        Ok(Self { transpose_a: false, transpose_b: false, has_bias: false, bias: 0 })
    }
}

/// What to choose algorithms by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preference {
    pub(crate) workspace: usize,
    /// What the addresses of A, B, C and D are at least aligned to.
    pub(crate) alignment: [u32; 4],
    /// How sums may be put together that were computed in parts: a set of `cublasLtReductionScheme_t`, all by default.
    pub(crate) reductions: u32,
}

impl Default for Preference {
    fn default() -> Self {
        Self { workspace: 0, alignment: [256; 4], reductions: CUBLASLT_REDUCTION_SCHEME_MASK as u32 }
    }
}

/// A product's shape, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) description: Description,
    /// A, B, C, D.
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
        // The table of supported types, for sums in f32.
        let types = [a, b, c, d].map(|layout| layout.element);
        match types {
            [CUDA_R_32F, CUDA_R_32F, CUDA_R_32F, CUDA_R_32F]
            | [CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF, CUDA_R_16BF]
            | [CUDA_R_16BF, CUDA_R_16BF, CUDA_R_32F, CUDA_R_32F] => Ok(Self { description, layouts }),
            _ => Err(format!("no product has the types {types:?}")),
        }
    }

    /// A product at these addresses. C is read where β is not 0, so that its NaN stays out otherwise.
    ///
    /// # Safety
    /// The matrices, and the bias if there is one, lie at the addresses; D shares memory with C alone.
    pub(crate) unsafe fn multiply(&self, [a, b, c, d]: [u64; 4], alpha: f32, beta: f32, in_parts: bool) {
        let [of_a, of_b, of_c, of_d] = self.layouts;
        let Description { transpose_a, transpose_b, has_bias, bias } = self.description;
        let (m, k) = of_a.shape(transpose_a);
        let n = of_d.columns;
        // SAFETY: the caller's.
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
            // SAFETY: op(A) is m×k, op(B) k×n with these strides, and `sums` m×n.
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
        // A bias is of D's type.
        let of_bias = Layout { rows: m, columns: 1, leading: m, ..of_d };
        for (i, sum) in sums.iter().enumerate() {
            let (row, column) = (i % m, i / m);
            // SAFETY: the caller's; every (row, column) is in the matrices.
            unsafe {
                let before = if beta == 0.0 { 0.0 } else { beta * of_c.read(c, row, column) };
                let bias = if has_bias { of_bias.read(bias, row, 0) } else { 0.0 };
                of_d.write(d, row, column, alpha * sum + before + bias);
            }
        }
    }
}

/// An algorithm that was chosen: for a shape, whatever the bias's address, and for addresses that are aligned so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice {
    pub(crate) shape: Shape,
    pub(crate) workspace: usize,
    pub(crate) alignment: [u32; 4],
    /// Whether sums are computed in two parts, of which the first is rounded to D's type.
    pub(crate) in_parts: bool,
}

/// What a program has of cuBLASLt.
#[derive(Default)]
pub(crate) struct Blas {
    pub(crate) opened: BTreeSet<u64>,
    pub(crate) layouts: BTreeMap<u64, Layout>,
    pub(crate) products: BTreeMap<u64, Description>,
    pub(crate) preferences: BTreeMap<u64, Preference>,
    pub(crate) choices: Vec<Choice>,
}

impl Blas {
    pub(crate) fn handles(&self) -> usize {
        self.opened.len()
    }

    pub(crate) fn descriptions(&self) -> usize {
        self.layouts.len() + self.products.len() + self.preferences.len()
    }

    /// The best algorithm for a shape, which uses some of the workspace that it may.
    pub(crate) fn choose(&mut self, shape: Shape, preference: Preference) -> (usize, Choice) {
        const WORKSPACE: usize = 1 << 20;
        let description = Description { bias: 0, ..shape.description };
        let shape = Shape { description, ..shape };
        let choice = Choice {
            shape,
            workspace: WORKSPACE.min(preference.workspace),
            alignment: preference.alignment,
            in_parts: preference.reductions & CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE as u32 != 0,
        };
        self.choices.push(choice);
        (self.choices.len() - 1, choice)
    }

    /// Checks that a chosen algorithm is used as it was chosen.
    pub(crate) fn check(
        &self,
        number: usize,
        shape: Shape,
        addresses: [u64; 4],
        workspace: (u64, usize),
    ) -> Result<Choice, String> {
        let choice = self.choices.get(number).ok_or("an algorithm that was never chosen")?;
        let description = Description { bias: 0, ..shape.description };
        if (Shape { description, ..shape }) != choice.shape {
            return Err("an algorithm that was chosen for another shape".to_owned());
        }
        let names = ["A", "B", "C", "D"];
        let rows = names.iter().zip(addresses).zip(choice.alignment);
        for ((name, address), alignment) in rows {
            if address % u64::from(alignment) != 0 {
                return Err(format!("{name} at {address:#x}, for an algorithm that needs multiples of {alignment}"));
            }
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
