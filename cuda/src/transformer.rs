//! Implements [`flowrl_lm::backend::TransformerBackend`] on a GPU and in the emulator.

use std::fmt;
use std::sync::Arc;

use flowrl_core::backend::{Backend, check_len};
use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

use crate::CudaBackend;
use crate::backend::check_index;
use crate::buffer::{Buffer, Index};
use crate::error::Error;
use crate::launch;
use crate::recent::Recent;
use crate::tile::{self, KeyParts, Parts};
use crate::unit::Storage;

/// Device copies of the lists that attention needs for a layout. They are cached because every layer of a pass asks for
/// the same lists.
#[derive(Default)]
pub(crate) struct AttentionLists {
    packed: Recent<(Layout, Heads), PackedLists>,
    cached: Recent<(Vec<Span>, Heads), CachedLists>,
    slots: Recent<Vec<u32>, Index>,
}

impl fmt::Debug for AttentionLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttentionLists").finish_non_exhaustive()
    }
}

/// The lists of `attention` and `attention_backward`, with the meanings given in [`tile`].
struct PackedLists {
    spans: Index,
    tiles: Index,
    key_parts: Index,
    merges: Index,
    /// Start of each span's followers in `followers`, the concatenated list of all.
    starts: Index,
    followers: Index,
    slots: usize,
}

/// The lists of `cached_attention`.
struct CachedLists {
    spans: Index,
    parts: Index,
    merges: Index,
    slots: usize,
}

impl CudaBackend {
    /// Checks that `ids` are valid rows of `table` (…, d), and returns the number of its rows.
    fn table_rows(&self, ids: (&'static str, &Index), rows: usize, table: &Buffer, d: usize) -> Result<usize, Error> {
        let table_rows = table.len / d.max(1);
        check_index(ids.0, ids.1, rows, table_rows)?;
        Ok(table_rows)
    }

    /// Uploads the four numbers of each span.
    fn spans(&self, spans: &[Span]) -> Result<Index, Error> {
        self.index(&spans.iter().flat_map(tile::narrow).collect::<Vec<_>>())
    }

    fn packed_lists(&self, layout: &Layout, heads: Heads) -> Result<Arc<PackedLists>, Error> {
        self.lists.packed.get((layout.clone(), heads), |_| {
            layout.check()?;
            tile::check(heads)?;
            let followers = tile::followers(layout);
            let work = KeyParts::of(layout, &followers, heads);
            let mut starts = vec![0];
            for list in &followers {
                starts.push(starts[starts.len() - 1] + list.len() as u32);
            }
            Ok(PackedLists {
                spans: self.spans(&layout.spans)?,
                tiles: self.index(&tile::of_queries(layout))?,
                key_parts: self.index(&work.parts)?,
                merges: self.index(&work.merges)?,
                starts: self.index(&starts)?,
                followers: self.index(&followers.concat())?,
                slots: work.slots,
            })
        })
    }

    fn cached_lists(&self, spans: &[Span], heads: Heads) -> Result<Arc<CachedLists>, Error> {
        self.lists.cached.get((spans.to_vec(), heads), |_| {
            tile::check(heads)?;
            let work = Parts::of(spans);
            Ok(CachedLists {
                spans: self.spans(spans)?,
                parts: self.index(&work.parts)?,
                merges: self.index(&work.merges)?,
                slots: work.slots,
            })
        })
    }
}

impl TransformerBackend for CudaBackend {
    fn logits_limit(&self) -> usize {
        self.limits.logits
    }

    fn cache_limit(&self) -> usize {
        self.limits.cache
    }

    fn embed(&self, table: &Buffer, ids: &Index, (rows, d): (usize, usize), out: &mut Buffer) -> Result<(), Error> {
        let table_rows = self.table_rows(("ids", ids), rows, table, d)?;
        launch::embed(&self.device, table, ids, out, rows, d, table_rows)
    }

    fn scatter_add(
        &self,
        d_out: &Buffer,
        ids: &Index,
        (rows, d): (usize, usize),
        d_table: &mut Buffer,
    ) -> Result<(), Error> {
        let table_rows = self.table_rows(("ids", ids), rows, d_table, d)?;
        // One block adds all rows that go to the same place, in ascending order.
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|&row| ids.host[row as usize]);
        let id = |&row: &u32| ids.host[row as usize];
        let mut starts: Vec<u32> =
            (0..rows).filter(|&i| i == 0 || id(&order[i]) != id(&order[i - 1])).map(|i| i as u32).collect();
        let groups = starts.len();
        starts.push(rows as u32);
        let (order, starts) = (self.index(&order)?, self.index(&starts)?);
        match d_table.storage {
            Storage::F32 => {
                launch::scatter_add(&self.device, d_out, ids, &order, &starts, d_table, groups, rows, d, table_rows)
            }
            _ => launch::scatter_add_store(
                &self.device,
                d_out,
                ids,
                &order,
                &starts,
                d_table,
                groups,
                rows,
                d,
                table_rows,
            ),
        }
    }

    fn rms_norm(
        &self,
        x: &Buffer,
        w: &Buffer,
        eps: f64,
        (rows, d): (usize, usize),
        y: &mut Buffer,
        inv_rms: &mut Buffer,
    ) -> Result<(), Error> {
        launch::rms_norm(&self.device, x, w, y, inv_rms, rows, d, eps as f32)
    }

    fn rms_norm_backward(
        &self,
        dy: &Buffer,
        x: &Buffer,
        w: &Buffer,
        inv_rms: &Buffer,
        (rows, d): (usize, usize),
        dx: &mut Buffer,
        dw: &mut Buffer,
    ) -> Result<(), Error> {
        launch::rms_norm_backward_input(&self.device, dy, x, w, inv_rms, dx, rows, d)?;
        let parts = parts(rows);
        let mut partial = self.scratch(parts * d)?;
        launch::rms_norm_backward_weight(&self.device, dy, x, inv_rms, &mut partial, rows, d, parts)?;
        launch::column_sum(&self.device, &partial, dw, parts, d)
    }

    fn qk_norm(
        &self,
        qkv: &Buffer,
        w_q: &Buffer,
        w_k: &Buffer,
        eps: f64,
        rows: usize,
        heads: Heads,
        out: &mut Buffer,
        inv_rms: &mut Buffer,
    ) -> Result<(), Error> {
        let Heads { heads, kv_heads, head_dim } = heads;
        launch::qk_norm(&self.device, qkv, w_q, w_k, out, inv_rms, rows, heads, kv_heads, head_dim, eps as f32)
    }

    fn qk_norm_backward(
        &self,
        qkv: &Buffer,
        w_q: &Buffer,
        w_k: &Buffer,
        inv_rms: &Buffer,
        rows: usize,
        heads: Heads,
        d_qkv: &mut Buffer,
        dw_q: &mut Buffer,
        dw_k: &mut Buffer,
    ) -> Result<(), Error> {
        let (device, parts) = (&self.device, parts(rows));
        let Heads { heads, kv_heads, head_dim } = heads;
        let mut partial_q = self.scratch(parts * head_dim)?;
        let mut partial_k = self.scratch(parts * head_dim)?;
        let (q, k) = (&mut partial_q, &mut partial_k);
        launch::qk_norm_backward_weight(device, qkv, d_qkv, inv_rms, q, k, rows, heads, kv_heads, head_dim, parts)?;
        launch::column_sum(device, &partial_q, dw_q, parts, head_dim)?;
        launch::column_sum(device, &partial_k, dw_k, parts, head_dim)?;
        launch::qk_norm_backward_input(device, qkv, w_q, w_k, inv_rms, d_qkv, rows, heads, kv_heads, head_dim)
    }

    fn rope(
        &self,
        qkv: &mut Buffer,
        positions: &Index,
        cos: &Buffer,
        sin: &Buffer,
        rows: usize,
        heads: Heads,
        backward: bool,
    ) -> Result<(), Error> {
        let table_rows = self.table_rows(("positions", positions), rows, cos, heads.head_dim / 2)?;
        let sign = if backward { -1.0 } else { 1.0 };
        let Heads { heads, kv_heads, head_dim } = heads;
        launch::rope(&self.device, qkv, positions, cos, sin, rows, heads, kv_heads, head_dim, table_rows, sign)
    }

    fn attention(
        &self,
        qkv: &Buffer,
        layout: &Layout,
        heads: Heads,
        out: &mut Buffer,
        log_sum_exp: &mut Buffer,
    ) -> Result<(), Error> {
        let lists = self.packed_lists(layout, heads)?;
        let (count, blocks, rows) = (layout.spans.len(), lists.tiles.host.len() / 2, layout.rows());
        let Heads { heads, kv_heads, head_dim } = heads;
        launch::attention(
            &self.device,
            qkv,
            &lists.spans,
            &lists.tiles,
            out,
            log_sum_exp,
            rows,
            count,
            blocks,
            heads,
            kv_heads,
            head_dim,
        )
    }

    fn attention_backward(
        &self,
        qkv: &Buffer,
        out: &Buffer,
        log_sum_exp: &Buffer,
        d_out: &Buffer,
        layout: &Layout,
        heads: Heads,
        d_qkv: &mut Buffer,
    ) -> Result<(), Error> {
        let device = &self.device;
        let lists = self.packed_lists(layout, heads)?;
        let PackedLists { spans, tiles, key_parts, merges, starts, followers, slots } = &*lists;
        let (count, blocks, rows, slots) = (layout.spans.len(), tiles.host.len() / 2, layout.rows(), *slots);
        let (part_count, merge_count) = (key_parts.host.len() / 7, merges.host.len() / 4);
        let Heads { heads, kv_heads, head_dim } = heads;
        let mut inner = self.scratch(rows * heads)?;
        let partial = slots * kv_heads * tile::ROWS * 2 * head_dim;
        let mut partial = (slots > 0).then(|| self.scratch(partial)).transpose()?;
        launch::attention_inner(device, out, d_out, &mut inner, rows * heads, head_dim)?;
        launch::attention_backward_query(
            device,
            qkv,
            log_sum_exp,
            d_out,
            &inner,
            spans,
            tiles,
            d_qkv,
            rows,
            count,
            blocks,
            heads,
            kv_heads,
            head_dim,
        )?;
        launch::attention_backward_key_value(
            device,
            qkv,
            log_sum_exp,
            d_out,
            &inner,
            spans,
            key_parts,
            starts,
            followers,
            d_qkv,
            partial.as_mut(),
            rows,
            count,
            part_count,
            slots,
            heads,
            kv_heads,
            head_dim,
        )?;
        let Some(partial) = partial else { return Ok(()) };
        launch::merge_gradients(
            device,
            &partial,
            spans,
            merges,
            d_qkv,
            rows,
            count,
            merge_count,
            slots,
            heads,
            kv_heads,
            head_dim,
        )
    }

    fn cache_store(&self, qkv: &Buffer, slots: &[u32], heads: Heads, cache: &mut Buffer) -> Result<(), Error> {
        let rows = slots.len();
        let slots = self.lists.slots.get(slots.to_vec(), |slots| self.index(slots))?;
        let capacity = self.table_rows(("slots", &slots), rows, cache, 2 * heads.kv_width())?;
        let Heads { heads, kv_heads, head_dim } = heads;
        launch::cache_store(&self.device, qkv, &slots, cache, rows, heads, kv_heads, head_dim, capacity)
    }

    fn cached_attention(
        &self,
        qkv: &Buffer,
        cache: &Buffer,
        spans: &[Span],
        heads: Heads,
        out: &mut Buffer,
    ) -> Result<(), Error> {
        let last = spans.iter().map(|s| (s.start + s.len).max(s.prefix_start + s.prefix_len)).max().unwrap_or(0);
        check_len("cache", cache.len, last * 2 * heads.kv_width())?;
        let lists = self.cached_lists(spans, heads)?;
        let (rows, blocks, count) = (spans.len(), lists.parts.host.len() / 3, lists.merges.host.len() / 3);
        let slots = lists.slots;
        let Heads { heads, kv_heads, head_dim } = heads;
        let device = &self.device;
        let mut partial = (slots > 0).then(|| self.scratch(slots * heads * (2 + head_dim))).transpose()?;
        launch::cached_attention(
            device,
            qkv,
            cache,
            &lists.spans,
            &lists.parts,
            out,
            partial.as_mut(),
            rows,
            blocks,
            slots,
            heads,
            kv_heads,
            head_dim,
            last,
        )?;
        let Some(partial) = partial else { return Ok(()) };
        launch::merge_parts(device, &partial, &lists.merges, out, rows, count, slots, heads, head_dim)
    }

    fn swiglu(&self, gate_up: &Buffer, (rows, ff): (usize, usize), out: &mut Buffer) -> Result<(), Error> {
        launch::swiglu(&self.device, gate_up, out, rows, ff)
    }

    fn swiglu_backward(
        &self,
        gate_up: &Buffer,
        d_out: &Buffer,
        (rows, ff): (usize, usize),
        d_gate_up: &mut Buffer,
    ) -> Result<(), Error> {
        launch::swiglu_backward(&self.device, gate_up, d_out, d_gate_up, rows, ff)
    }

    fn mean_rows(&self, x: &Buffer, spans: &[(usize, usize)], d: usize, out: &mut Buffer) -> Result<(), Error> {
        let (index, rows) = self.row_spans(spans)?;
        launch::mean_rows(&self.device, x, &index, out, spans.len(), d, rows)
    }

    fn mean_rows_backward(
        &self,
        d_out: &Buffer,
        spans: &[(usize, usize)],
        d: usize,
        dx: &mut Buffer,
    ) -> Result<(), Error> {
        let share_row = |a: (usize, usize), b: (usize, usize)| a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
        let mut first = 0;
        while first < spans.len() {
            // Spans that share a row are added in separate launches.
            let shares = |&end: &usize| spans[first..end].iter().any(|&span| share_row(span, spans[end]));
            let end = (first + 1..spans.len()).find(shares).unwrap_or(spans.len());
            let (index, rows) = self.row_spans(&spans[first..end])?;
            launch::mean_rows_backward(&self.device, d_out, &index, dx, end - first, d, rows, spans.len(), first)?;
            first = end;
        }
        Ok(())
    }
}

/// Greatest number of parts for a sum over rows.
const PARTS: usize = 256;

/// Returns the number of parts for a sum over rows, which depends only on the number of rows: parts of 64 rows, or
/// longer ones if those would be too many.
fn parts(rows: usize) -> usize {
    rows.div_ceil(64).clamp(1, PARTS)
}

impl CudaBackend {
    /// Adds the sum of the rows of x to `sums` (columns), with several parts in parallel if there are many rows.
    pub(crate) fn add_column_sum(
        &self,
        x: &Buffer,
        sums: &mut Buffer,
        rows: usize,
        columns: usize,
    ) -> Result<(), Error> {
        // So few rows need no partial sums, which would be as many.
        if rows <= PARTS {
            return launch::column_sum(&self.device, x, sums, rows, columns);
        }
        let parts = parts(rows);
        let mut partial = self.scratch(parts * columns)?;
        launch::column_sum_parts(&self.device, x, &mut partial, rows, columns, parts)?;
        launch::column_sum(&self.device, &partial, sums, parts, columns)
    }

    /// Uploads (start, len) of each span. Also returns the end of the last row that they cover.
    fn row_spans(&self, spans: &[(usize, usize)]) -> Result<(Index, usize), Error> {
        let flat: Vec<u32> = spans.iter().flat_map(|&(start, len)| [start as u32, len as u32]).collect();
        Ok((self.index(&flat)?, spans.iter().map(|&(start, len)| start + len).max().unwrap_or(0)))
    }
}
