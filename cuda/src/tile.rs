//! Shapes of the tiles of the attention kernels.

use flowrl_core::backend::CpuError;
use flowrl_lm::backend::Heads;

use crate::constants::{
    ATTENTION_KEYS, CACHED_KEYS, GRADIENT_QUERIES, TILE_BYTES_32, TILE_BYTES_64, TILE_BYTES_128, TILE_ROWS,
    TILE_THREADS, WARP_ROWS,
};
use crate::error::Result;
use crate::grid::Grid;
use crate::unit::Storage;

/// The greatest width of a head.
const MOST_COLUMNS: usize = 256;

/// Checks that the kernels support heads of this shape.
pub(crate) fn check(heads: Heads) -> Result<()> {
    let Heads { heads, kv_heads, head_dim } = heads;
    let broken = |argument, rule| Err(CpuError::Rule { argument, index: 0, rule }.into());
    if kv_heads == 0 || heads % kv_heads != 0 {
        return broken("heads.kv_heads", "divide heads.heads");
    }
    if head_dim == 0 || head_dim % 2 != 0 || head_dim > MOST_COLUMNS {
        return broken("heads.head_dim", "be even, above 0 and at most 256 on this device");
    }
    Ok(())
}

/// Returns the kernel variant for heads of this width, named after the greatest width it supports.
pub(crate) const fn columns(head_dim: usize) -> usize {
    match head_dim {
        0..=64 => 64,
        65..=128 => 128,
        _ => MOST_COLUMNS,
    }
}

/// Returns a grid of blocks that work on tiles, one for each (row, column).
pub(crate) fn grid(rows: usize, columns: usize) -> Grid {
    Grid::table(rows, columns, TILE_THREADS as u32)
}

/// Returns the bytes of shared memory for `own` rows and `others` other tiles. A tile has `narrow` rows for heads of up to
/// 64, `wide` divided by the size of an element for heads of up to 128, and `widest` divided likewise for wider ones.
const fn shared(own: usize, others: usize, rows: [usize; 3], head_dim: usize, storage: Storage) -> usize {
    let [narrow, wide, widest] = rows;
    let (columns, rows) = match columns(head_dim) {
        64 => (if head_dim <= 16 { 16 } else { 64 }, narrow),
        128 => (128, wide / storage.bytes()),
        columns => (columns, widest / storage.bytes()),
    };
    (own + others * rows) * (columns * storage.bytes() + 16)
}

/// Returns the shared memory of a block of `attention`: queries, keys and values.
pub(crate) const fn attention(head_dim: usize, storage: Storage) -> usize {
    shared(TILE_ROWS, 2, [ATTENTION_KEYS, TILE_BYTES_128, TILE_BYTES_64], head_dim, storage)
}

/// Returns the shared memory of a block of `attention_backward_query`: queries, their d_out, keys and values.
pub(crate) const fn query_gradient(head_dim: usize, storage: Storage) -> usize {
    shared(2 * TILE_ROWS, 2, [ATTENTION_KEYS, TILE_BYTES_64, TILE_BYTES_32], head_dim, storage)
}

/// Returns the shared memory of a block of `attention_backward_key_value`: keys, values, queries and their d_out.
pub(crate) const fn key_value_gradient(head_dim: usize, storage: Storage) -> usize {
    shared(2 * TILE_ROWS, 2, [GRADIENT_QUERIES, TILE_BYTES_64, TILE_BYTES_32], head_dim, storage)
}

/// Returns the shared memory of a block of `cached_attention`: queries, and the keys and values of four warps.
pub(crate) const fn cached(head_dim: usize, storage: Storage) -> usize {
    shared(WARP_ROWS, 4 * 2, [CACHED_KEYS, TILE_BYTES_64, TILE_BYTES_32], head_dim, storage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_no_kernel_takes_are_refused() {
        let heads = |heads, kv_heads, head_dim| check(Heads { heads, kv_heads, head_dim });
        assert!(heads(6, 3, 2).is_ok() && heads(1, 1, 256).is_ok());
        for refused in [heads(6, 0, 2), heads(6, 4, 2), heads(6, 3, 0), heads(6, 3, 31), heads(6, 3, 258)] {
            assert!(refused.is_err());
        }
    }

    #[test]
    fn blocks_fit_the_shared_memory_of_gpus() {
        // The shared memory available to a block on sm_86 and sm_89, and on sm_80. The kernels themselves have up to 10
        // KiB of static shared memory in f32, where products of tiles pass through it, and less than 1 KiB in bf16, as
        // `cargo xtask kernels` shows.
        const CONSUMER: usize = 99 << 10;
        const DATA_CENTER: usize = 163 << 10;
        for (storage, own, width) in [(Storage::Bf16, 1 << 10, 256), (Storage::F32, 10 << 10, 128)] {
            for head_dim in [2, 16, 64, 66, 128, 130, 256] {
                let limit = if head_dim <= width { CONSUMER } else { DATA_CENTER };
                for bytes in [attention, query_gradient, key_value_gradient, cached] {
                    assert!(bytes(head_dim, storage) + own <= limit, "{head_dim}, {storage:?}");
                }
            }
        }
    }
}
