//! Tile shapes of the attention kernels, which must match the compile-time constants of `tile.cuh` and of the kernels
//! that include it.

use flowrl_core::backend::CpuError;
use flowrl_lm::backend::{Heads, Layout, Span};

use crate::buffer::Buffer;
use crate::error::Error;

/// Threads of a block.
pub(crate) const THREADS: u32 = 128;
/// Rows of the tile for which a block computes the result.
pub(crate) const ROWS: usize = 64;
/// The greatest width of a head.
const MOST_COLUMNS: usize = 256;

/// Checks that the kernels support heads of this shape.
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

/// Returns the kernel variant for heads of this width, named after the greatest width it supports.
pub(crate) const fn columns(head_dim: usize) -> usize {
    match head_dim {
        0..=64 => 64,
        65..=128 => 128,
        _ => MOST_COLUMNS,
    }
}

/// Returns the bytes of shared memory for `rows` tile rows, stored as `like` is.
const fn bytes(rows: usize, head_dim: usize, like: &Buffer) -> usize {
    let columns = if head_dim <= 16 { 16 } else { columns(head_dim) };
    rows * (columns * like.storage.bytes() + 16)
}

/// Sizes of the other tiles for wide heads, as the bytes of one column. The number of rows is this size divided by the
/// size of an element.
const MANY: usize = 128;
const SOME: usize = 64;
const FEW: usize = 32;

/// Returns the number of rows of the other tiles. This is `narrow` itself for heads of up to 64. For heads of up to 128
/// it is `wide` divided by the size of an element, and for heads of up to 256 `widest` divided likewise.
const fn rows(head_dim: usize, like: &Buffer, [narrow, wide, widest]: [usize; 3]) -> usize {
    match columns(head_dim) {
        64 => narrow,
        128 => wide / like.storage.bytes(),
        _ => widest / like.storage.bytes(),
    }
}

/// Returns the shared memory of a block of `attention`: queries, keys and values.
pub(crate) const fn attention(head_dim: usize, like: &Buffer) -> usize {
    bytes(ROWS + 2 * rows(head_dim, like, [64, MANY, SOME]), head_dim, like)
}

/// Returns the shared memory of a block of `attention_backward_query`: queries, their d_out, keys and values.
pub(crate) const fn query_gradient(head_dim: usize, like: &Buffer) -> usize {
    bytes(2 * ROWS + 2 * rows(head_dim, like, [64, SOME, FEW]), head_dim, like)
}

/// Returns the shared memory of a block of `attention_backward_key_value`: keys, values, queries and their d_out.
pub(crate) const fn key_value_gradient(head_dim: usize, like: &Buffer) -> usize {
    bytes(2 * ROWS + 2 * rows(head_dim, like, [32, SOME, FEW]), head_dim, like)
}

/// Returns the shared memory of a block of `cached_attention`: queries, and the keys and values of four warps.
pub(crate) const fn cached(head_dim: usize, like: &Buffer) -> usize {
    bytes(16 + 4 * 2 * rows(head_dim, like, [32, SOME, FEW]), head_dim, like)
}

/// The work of `cached_attention`, with the keys of each row divided into parts.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// (row, first key, 0 if the row has one part or else 1 + its slot) for each block.
    pub(crate) parts: Vec<u32>,
    /// (row, first slot, number of slots) for each row with several parts.
    pub(crate) merges: Vec<u32>,
    /// Number of slots for partial results.
    pub(crate) slots: usize,
}

impl Parts {
    /// Keys in a part. The parts of a row depend only on the number of its keys.
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

/// Returns a span in the kernels' format.
pub(crate) fn narrow(span: &Span) -> [u32; 4] {
    [span.start, span.len, span.prefix_start, span.prefix_len].map(|x| x as u32)
}

/// Iterates over all tiles of [`ROWS`] rows, as (span, first row in the span).
fn tiles(layout: &Layout) -> impl Iterator<Item = (usize, usize)> {
    let of_span = |(i, span): (usize, &Span)| (0..span.len).step_by(ROWS).map(move |first| (i, first));
    layout.spans.iter().enumerate().flat_map(of_span)
}

/// Returns (span, first row in it) for each tile. Tiles that attend to the most rows come first, so that the longest
/// work starts earliest.
pub(crate) fn of_queries(layout: &Layout) -> Vec<u32> {
    let mut tiles: Vec<(usize, usize)> = tiles(layout).collect();
    tiles.sort_by_key(|&(i, first)| std::cmp::Reverse(layout.spans[i].prefix_len + first));
    tiles.iter().flat_map(|&(i, first)| [i as u32, first as u32]).collect()
}

/// Returns for each span the spans with a prefix that overlaps it.
pub(crate) fn followers(layout: &Layout) -> Vec<Vec<u32>> {
    let mut lists = vec![Vec::new(); layout.spans.len()];
    for (i, span) in layout.spans.iter().enumerate().filter(|(_, span)| span.prefix_len > 0) {
        let (from, to) = (span.prefix_start, span.prefix_start + span.prefix_len);
        // Spans are in ascending order of their rows.
        let first = layout.spans.partition_point(|other| other.start + other.len <= from);
        let count = layout.spans[first..].partition_point(|other| other.start < to);
        lists[first..first + count].iter_mut().for_each(|list| list.push(i as u32));
    }
    lists
}

/// The work of `attention_backward_key_value`. Each tile of keys is one part. A tile that too many queries see is
/// divided further, into one part for each head of the group and each range of sources. The sources are the tile's own
/// span and its followers. The division, and therefore the bits of the sums, depends only on the spans of the same
/// group.
#[derive(Debug, Default)]
pub(crate) struct KeyParts {
    /// Seven numbers for each block: the span, the first row in it, the half-open ranges of the group's heads and of the
    /// sources, and 0 or 1 + slot. Blocks with the most queries come first.
    pub(crate) parts: Vec<u32>,
    /// (span, first row in it, first slot, number of slots) for each tile with several parts.
    pub(crate) merges: Vec<u32>,
    /// Number of slots for partial sums.
    pub(crate) slots: usize,
}

impl KeyParts {
    /// Greatest number of queries, over all heads, that a single block processes.
    const WHOLE: usize = 8192;
    /// Number of queries of one head at which a part ends.
    const ENOUGH: usize = 1024;

    pub(crate) fn of(layout: &Layout, followers: &[Vec<u32>], heads: Heads) -> Self {
        let group = heads.heads / heads.kv_heads;
        let mut all = Self::default();
        let mut parts: Vec<(usize, [usize; 7])> = Vec::new();
        for (span, first) in tiles(layout) {
            let mut sources = vec![layout.spans[span].len - first];
            sources.extend(followers[span].iter().map(|&i| layout.spans[i as usize].len));
            let queries = sources.iter().sum::<usize>() * group;
            if queries <= Self::WHOLE {
                parts.push((queries, [span, first, 0, group, 0, sources.len(), 0]));
                continue;
            }
            let slot = all.slots;
            for head in 0..group {
                let mut from = 0;
                while from < sources.len() {
                    let (mut to, mut queries) = (from, 0);
                    while to < sources.len() && queries < Self::ENOUGH {
                        queries += sources[to];
                        to += 1;
                    }
                    all.slots += 1;
                    parts.push((queries, [span, first, head, head + 1, from, to, all.slots]));
                    from = to;
                }
            }
            all.merges.extend([span, first, slot, all.slots - slot].map(|x| x as u32));
        }
        parts.sort_by_key(|&(queries, _)| std::cmp::Reverse(queries));
        all.parts = parts.iter().flat_map(|(_, part)| part.map(|x| x as u32)).collect();
        all
    }
}

#[cfg(test)]
mod tests {
    use flowrl_core::backend::{Backend, Role};
    use flowrl_lm::backend::Heads;

    use crate::launch::tile_products;
    use crate::{CudaBackend, EmulatorOptions, Precision, Schedule};

    /// Returns integers that are small enough for every precision to hold, in an order without symmetries.
    fn whole(len: usize, seed: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * i * 7 + i * seed + i / 5) % 5) as f32 - 2.0).collect()
    }

    fn products_are_exact(device: &CudaBackend) {
        let (a, b) = (whole(64 * 48, 3), whole(32 * 48, 8));
        let stored = |values: &[f32]| {
            let mut buffer = device.zeros_for(Role::Activation, values.len()).unwrap();
            device.write(&mut buffer, 0, values).unwrap();
            buffer
        };
        let (mut by_rows, mut product) = (device.zeros(64 * 32).unwrap(), device.zeros(64 * 48).unwrap());
        tile_products(&device.device, &stored(&a), &stored(&b), &mut by_rows, &mut product).unwrap();
        let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
        let want: Vec<f32> = a.chunks(48).flat_map(|a| b.chunks(48).map(move |b| dot(a, b))).collect();
        let column = |j: usize| b.iter().skip(j).step_by(48).copied().collect::<Vec<_>>();
        let want_product: Vec<f32> =
            want.chunks(32).flat_map(|row| (0..48).map(|j| dot(row, &column(j))).collect::<Vec<_>>()).collect();
        assert!(want.iter().all(|x| x.abs() <= 256.0), "bf16 holds whole numbers up to 256");
        for (got, want) in [(by_rows, want), (product, want_product)] {
            let mut numbers = vec![0.0; want.len()];
            device.read(&got, 0, &mut numbers).unwrap();
            assert_eq!(numbers, want);
        }
    }

    #[test]
    fn heads_that_no_kernel_takes_are_refused() {
        let heads = |heads, kv_heads, head_dim| super::check(Heads { heads, kv_heads, head_dim });
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
        for (precision, own, width) in [(Precision::Bf16, 1 << 10, 256), (Precision::F32, 10 << 10, 128)] {
            let device = CudaBackend::emulated(EmulatorOptions::default(), precision);
            let like = device.zeros_for(Role::Activation, 1).unwrap();
            for head_dim in [2, 16, 64, 66, 128, 130, 256] {
                let limit = if head_dim <= width { CONSUMER } else { DATA_CENTER };
                for bytes in [super::attention, super::query_gradient, super::key_value_gradient, super::cached] {
                    assert!(bytes(head_dim, &like) + own <= limit, "{head_dim}, {precision:?}");
                }
            }
        }
    }

    #[test]
    fn products_of_tiles_are_exact() {
        for precision in [Precision::F32, Precision::Bf16] {
            for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(5)] {
                let options = EmulatorOptions { schedule, threads: 1, ..EmulatorOptions::default() };
                products_are_exact(&CudaBackend::emulated(options, precision));
            }
        }
    }

    #[test]
    fn products_of_tiles_are_exact_on_gpu() {
        for precision in [Precision::F32, Precision::Bf16] {
            match CudaBackend::new(0, precision) {
                Ok(device) => products_are_exact(&device),
                Err(error) => println!("skipped, no GPU: {error}"),
            }
        }
    }
}
