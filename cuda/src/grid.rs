//! Grids of blocks of threads.

/// Blocks, threads and dynamic shared memory of a launch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grid {
    pub(crate) blocks: [u32; 2],
    pub(crate) threads: u32,
    pub(crate) shared: u32,
}

impl Grid {
    /// Returns a grid with one thread for each of `len` elements.
    pub(crate) fn flat(len: usize) -> Self {
        Self::rows(len.div_ceil(256), 256)
    }

    /// Returns a grid with one block of `threads` threads for each row.
    pub(crate) fn rows(rows: usize, threads: u32) -> Self {
        Self::table(rows, 1, threads)
    }

    /// Returns a grid with one block for each row of `columns` elements, of as many threads as suit that length but at
    /// most `most`.
    pub(crate) fn long_rows(rows: usize, columns: usize, most: u32) -> Self {
        let threads = match columns {
            0..=64 => 32,
            65..=512 => 128,
            513..=8192 => 256,
            _ => 512,
        };
        Self::rows(rows, most.min(threads))
    }

    /// Returns a grid with one block of `threads` threads for each (row, column).
    pub(crate) fn table(rows: usize, columns: usize, threads: u32) -> Self {
        // The driver refuses launches with more blocks than that.
        let narrow = |n| u32::try_from(n).unwrap_or(u32::MAX);
        Self { blocks: [narrow(rows), narrow(columns)], threads, shared: 0 }
    }

    /// Returns a grid with one block for each row of `columns` elements. Each thread has up to sixteen elements, or
    /// more once the block has reached 512 threads.
    pub(crate) fn wide_rows(rows: usize, columns: usize) -> Self {
        let warps = columns.div_ceil(16 * 32).clamp(1, 16);
        Self::rows(rows, 32 * warps as u32)
    }

    /// Returns a grid of 256-thread blocks that sum rows, one block for each part of the rows and `width` columns.
    pub(crate) fn sums(parts: usize, columns: usize, width: usize) -> Self {
        Self::table(parts, columns.div_ceil(width), 256)
    }

    /// Returns a grid with one block for each 32 rows and 32 columns of a product.
    pub(crate) fn products(rows: usize, columns: usize) -> Self {
        Self::table(rows.div_ceil(32), columns.div_ceil(32), 256)
    }

    /// Returns a grid for `heads` heads of each row. A head takes a power of two of lanes in a warp, up to 32, with
    /// eight of its `head_dim` elements per lane.
    pub(crate) fn heads(rows: usize, heads: usize, head_dim: usize) -> Self {
        let lanes = heads * head_dim.div_ceil(8).next_power_of_two().min(32);
        let threads = lanes.next_multiple_of(32).min(256);
        Self::table(rows, lanes.div_ceil(threads.max(1)), threads as u32)
    }

    /// Sets the dynamic shared memory to `bytes`, for a size that the kernel does not know at compile time.
    pub(crate) const fn with_shared(self, bytes: usize) -> Self {
        Self { shared: bytes as u32, ..self }
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.blocks[0] == 0 || self.blocks[1] == 0
    }
}
