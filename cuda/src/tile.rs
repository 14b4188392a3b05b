//! Shapes of the tiles of attention: what `tile.cuh` and the kernels that include it decide at compile time.

use flowrl_core::backend::CpuError;
use flowrl_lm::backend::{Heads, Layout, Span};

use crate::buffer::Buffer;
use crate::error::Error;

/// Threads of a block.
pub(crate) const THREADS: u32 = 128;
/// Rows of the tile that a block's result belongs to.
pub(crate) const ROWS: usize = 64;
/// The widest head.
const MOST_COLUMNS: usize = 256;

/// Checks that the kernels can take such heads.
pub(crate) fn check(heads: Heads) -> Result<(), Error> {
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

/// Which of a kernel's variants takes heads of this width: the most that it can take.
pub(crate) const fn columns(head_dim: usize) -> usize {
    match head_dim {
        0..=64 => 64,
        65..=128 => 128,
        _ => MOST_COLUMNS,
    }
}

/// Bytes of `rows` rows of tiles, stored as `like` is.
pub(crate) const fn bytes(rows: usize, head_dim: usize, like: &Buffer) -> usize {
    let columns = if head_dim <= 16 { 16 } else { columns(head_dim) };
    rows * (columns * like.storage.bytes() + 16)
}

/// Rows of all tiles of a block of `attention`: queries, keys, values.
pub(crate) const fn attention_rows(head_dim: usize) -> usize {
    ROWS + 2 * if head_dim > 128 { 32 } else { 64 }
}

/// Rows of all tiles of a block of `attention_backward_query`: queries, their d_out, keys, values.
pub(crate) const fn query_gradient_rows(head_dim: usize) -> usize {
    2 * ROWS + 2 * if head_dim > 64 { 32 } else { 64 }
}

/// Rows of all tiles of a block of `attention_backward_key_value`: keys, values, queries, their d_out.
pub(crate) const fn key_value_gradient_rows(head_dim: usize) -> usize {
    2 * ROWS + 2 * if head_dim > 128 { 16 } else { 32 }
}

/// Rows of all tiles of a block of `cached_attention`: queries, and keys and values of four warps.
pub(crate) const fn cached_rows(head_dim: usize) -> usize {
    16 + 4 * 2 * if head_dim > 128 { 16 } else { 32 }
}

/// The work of `cached_attention` over the keys of each row.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// (row, first key, 0 if the row has one part, else 1 + its slot) of each block.
    pub(crate) parts: Vec<u32>,
    /// (row, first slot, slots) of each row of several parts.
    pub(crate) merges: Vec<u32>,
    pub(crate) slots: usize,
}

impl Parts {
    /// Keys of a part; a row's parts depend on its number of keys alone.
    const KEYS: usize = 256;

    pub(crate) fn of(spans: &[Span]) -> Self {
        let mut all = Self::default();
        for (row, span) in spans.iter().enumerate() {
            let parts = (span.prefix_len + span.len).div_ceil(Self::KEYS).max(1);
            if parts > 1 {
                all.merges.extend([row, all.slots, parts].map(|x| x as u32));
            }
            for part in 0..parts {
                let place = if parts > 1 { 1 + all.slots + part } else { 0 };
                all.parts.extend([row, part * Self::KEYS, place].map(|x| x as u32));
            }
            all.slots += if parts > 1 { parts } else { 0 };
        }
        all
    }
}

/// A span as kernels read it.
pub(crate) fn narrow(span: &Span) -> [u32; 4] {
    [span.start, span.len, span.prefix_start, span.prefix_len].map(|x| x as u32)
}

/// (span, first row in it) of every [`ROWS`] rows, those that attend to the most rows first: the longest work starts earliest.
pub(crate) fn of_queries(layout: &Layout) -> Vec<u32> {
    sorted(layout, |i, first| layout.spans[i].prefix_len + first)
}

/// (span, first row in it) of every [`ROWS`] rows, those that the most rows attend to first.
pub(crate) fn of_keys(layout: &Layout, followers: &[Vec<u32>]) -> Vec<u32> {
    let following = |i: usize| followers[i].iter().map(|&i| layout.spans[i as usize].len).sum::<usize>();
    sorted(layout, |i, first| layout.spans[i].len - first + following(i))
}

/// For each span those that have it, or a part of it, as their prefix.
pub(crate) fn followers(layout: &Layout) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); layout.spans.len()];
    for (i, span) in layout.spans.iter().enumerate().filter(|(_, span)| span.prefix_len > 0) {
        let (from, to) = (span.prefix_start, span.prefix_start + span.prefix_len);
        // Spans are in ascending order of rows.
        let first = layout.spans.partition_point(|other| other.start + other.len <= from);
        let count = layout.spans[first..].partition_point(|other| other.start < to);
        lists[first..first + count].iter_mut().for_each(|list| list.push(i as u32));
    }
    lists
}

/// Tiles in descending order of work.
fn sorted(layout: &Layout, work: impl Fn(usize, usize) -> usize) -> Vec<u32> {
    let of_span = |(i, span): (usize, &Span)| (0..span.len).step_by(ROWS).map(move |first| (i, first));
    let mut tiles: Vec<(usize, usize)> = layout.spans.iter().enumerate().flat_map(of_span).collect();
    tiles.sort_by_key(|&(i, first)| std::cmp::Reverse(work(i, first)));
    tiles.iter().flat_map(|&(i, first)| [i as u32, first as u32]).collect()
}
