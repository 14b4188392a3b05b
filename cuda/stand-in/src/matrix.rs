//! cuBLASLt's matrices: column-major, with consecutive columns `ld` elements apart.

use cudarc::cublaslt::sys::cudaDataType_t::{self, CUDA_R_16BF, CUDA_R_32F};

/// The element type of a matrix and its layout in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) element: cudaDataType_t,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    /// The leading dimension: elements from the start of one column to the start of the next.
    pub(crate) leading: usize,
}

impl Layout {
    pub(crate) fn new(element: cudaDataType_t, rows: u64, columns: u64, leading: i64) -> Result<Self, String> {
        if element != CUDA_R_32F && element != CUDA_R_16BF {
            return Err(format!("the stand-in does not support matrices of {element:?}"));
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

    /// Returns the number of bytes from the first element to the end of the last.
    pub(crate) fn bytes(&self) -> usize {
        ((self.columns - 1) * self.leading + self.rows) * self.width()
    }

    /// Returns the (rows, columns) of op(matrix).
    pub(crate) fn shape(&self, transposed: bool) -> (usize, usize) {
        if transposed { (self.columns, self.rows) } else { (self.rows, self.columns) }
    }

    /// Returns the address of an element.
    fn place(&self, matrix: u64, row: usize, column: usize) -> u64 {
        matrix + ((column * self.leading + row) * self.width()) as u64
    }

    /// Reads an element as f32.
    ///
    /// # Safety
    /// The address must be that of a matrix with this layout, and the element must lie within it.
    pub(crate) unsafe fn read(&self, matrix: u64, row: usize, column: usize) -> f32 {
        let place = self.place(matrix, row, column);
        // SAFETY: this function has the same requirements.
        unsafe {
            if self.element == CUDA_R_16BF {
                half::bf16::from_bits((place as *const u16).read()).to_f32()
            } else {
                (place as *const f32).read()
            }
        }
    }

    /// Writes an element, rounded to the matrix's type.
    ///
    /// # Safety
    /// The requirements are those of `read`.
    pub(crate) unsafe fn write(&self, matrix: u64, row: usize, column: usize, value: f32) {
        let place = self.place(matrix, row, column);
        // SAFETY: this function has the same requirements.
        unsafe {
            if self.element == CUDA_R_16BF {
                (place as *mut u16).write(half::bf16::from_f32(value).to_bits());
            } else {
                (place as *mut f32).write(value);
            }
        }
    }

    /// Returns all elements as f32, column by column without gaps.
    ///
    /// # Safety
    /// The address must be that of a matrix with this layout.
    pub(crate) unsafe fn dense(&self, matrix: u64) -> Vec<f32> {
        let places = (0..self.columns).flat_map(|column| (0..self.rows).map(move |row| (row, column)));
        // SAFETY: all of these elements lie within the matrix.
        places.map(|(row, column)| unsafe { self.read(matrix, row, column) }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_checked() {
        assert!(Layout::new(CUDA_R_32F, 3, 2, 2).unwrap_err().contains("leading dimension of 2 for 3 rows"));
        assert!(Layout::new(CUDA_R_32F, 0, 2, 2).unwrap_err().contains("0 rows"));
        assert!(Layout::new(CUDA_R_32F, 3, 2, -3).is_err());
        assert!(Layout::new(cudaDataType_t::CUDA_R_8I, 3, 2, 3).is_err());
        assert_eq!(Layout::new(CUDA_R_16BF, 3, 2, 5).unwrap().bytes(), (5 + 3) * 2);
    }
}
