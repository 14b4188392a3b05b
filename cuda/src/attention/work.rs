//! The work of each block of the attention kernels, in the kernels' format.

use flowrl_lm::backend::{Heads, Layout, Span};

use crate::constants::{PART_KEYS, PART_NUMBERS, TILE_ROWS};

/// The parts into which the work of a kernel is divided.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// The numbers that describe each block's part. The last is 0, or 1 + the slot of its partial result.
    pub(super) parts: Vec<u32>,
    /// The tile or row, the first slot and the number of slots for each that has several parts.
    pub(super) merges: Vec<u32>,
    /// Number of slots for partial results.
    pub(super) slots: usize,
}

/// Greatest number of queries, over all heads, that a single block of `attention_backward_key_value` processes.
const WHOLE: usize = 8192;
/// Number of queries of one head at which a part of a larger tile ends.
const ENOUGH: usize = 1024;

impl Parts {
    /// Divides the work of `cached_attention`: (row, first key, slot) for each block. The parts of a row, of [`PART_KEYS`]
    /// keys each, depend only on the number of its keys.
    pub(super) fn of_rows(spans: &[Span]) -> Self {
        let mut all = Self::default();
        for (row, span) in spans.iter().enumerate() {
            let parts = (span.prefix_len + span.len).div_ceil(PART_KEYS).max(1);
            if parts > 1 {
                all.merges.extend([row, all.slots, parts].map(|x| x as u32));
            }
            for part in 0..parts {
                let place = if parts > 1 { 1 + all.slots + part } else { 0 };
                all.parts.extend([row, part * PART_KEYS, place].map(|x| x as u32));
            }
            all.slots += if parts > 1 { parts } else { 0 };
        }
        all
    }

    /// Divides the work of `attention_backward_key_value`: the span, the first row in it, the half-open ranges of the
    /// group's heads and of the sources, and the slot for each block, those with the most queries first. The sources of a
    /// tile of keys are its own span and its followers. A tile is one part unless too many queries see it: then each head
    /// of the group and each range of sources is one. The division, and therefore the bits of the sums, depends only on
    /// the spans of the same group.
    pub(super) fn of_keys(layout: &Layout, followers: &[Vec<u32>], heads: Heads) -> Self {
        let group = heads.heads / heads.kv_heads;
        let mut all = Self::default();
        let mut parts: Vec<(usize, [usize; PART_NUMBERS])> = Vec::new();
        for (span, first) in tiles(layout) {
            let mut sources = vec![layout.spans[span].len - first];
            sources.extend(followers[span].iter().map(|&i| layout.spans[i as usize].len));
            let queries = sources.iter().sum::<usize>() * group;
            if queries <= WHOLE {
                parts.push((queries, [span, first, 0, group, 0, sources.len(), 0]));
                continue;
            }
            let slot = all.slots;
            for head in 0..group {
                let mut from = 0;
                while from < sources.len() {
                    let (mut to, mut queries) = (from, 0);
                    while to < sources.len() && queries < ENOUGH {
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

/// Returns the four numbers of each span.
pub(super) fn spans(spans: &[Span]) -> Vec<u32> {
    spans.iter().flat_map(|s| [s.start, s.len, s.prefix_start, s.prefix_len].map(|x| x as u32)).collect()
}

/// Iterates over all tiles of [`TILE_ROWS`] rows, as (span, first row in the span).
fn tiles(layout: &Layout) -> impl Iterator<Item = (usize, usize)> {
    let of_span = |(i, span): (usize, &Span)| (0..span.len).step_by(TILE_ROWS).map(move |first| (i, first));
    layout.spans.iter().enumerate().flat_map(of_span)
}

/// Returns (span, first row in it) for each tile. Tiles that attend to the most rows come first, so that the longest
/// work starts earliest.
pub(super) fn of_queries(layout: &Layout) -> Vec<u32> {
    let mut tiles: Vec<(usize, usize)> = tiles(layout).collect();
    tiles.sort_by_key(|&(i, first)| std::cmp::Reverse(layout.spans[i].prefix_len + first));
    tiles.iter().flat_map(|&(i, first)| [i as u32, first as u32]).collect()
}

/// Returns for each span the spans with a prefix that overlaps it.
pub(super) fn followers(layout: &Layout) -> Vec<Vec<u32>> {
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
