//! Implements [`flowrl_lm::backend::TransformerBackend`] on a GPU and in the emulator.

use flowrl_core::backend::{Backend, check_len};
use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

use crate::attention::{CachedLists, PackedLists};
use crate::backend::{CudaBackend, parts};
use crate::buffer::{Buffer, Index};
use crate::constants::{PART_NUMBERS, TILE_ROWS};
use crate::error::Result;
use crate::kernels;
use crate::unit::Storage;

/// Checks that `ids` are valid rows of `table` (…, d), and returns the number of its rows.
fn table_rows((name, ids): (&'static str, &Index), rows: usize, table: &Buffer, d: usize) -> Result<usize> {
    let table_rows = table.len / d.max(1);
    ids.check(name, rows, table_rows)?;
    Ok(table_rows)
}

impl CudaBackend {
    /// Uploads (start, len) of each span. Also returns the end of the last row that they cover.
    fn row_spans(&self, spans: &[(usize, usize)]) -> Result<(Index, usize)> {
        let flat = spans.iter().flat_map(|&(start, len)| [start as u32, len as u32]).collect();
        let end = spans.iter().map(|&(start, len)| start + len).max();
        Ok((Index::new(&self.device, flat)?, end.unwrap_or(0)))
    }
}

impl TransformerBackend for CudaBackend {
    fn logits_limit(&self) -> usize {
        self.limits.logits
    }

    fn cache_limit(&self) -> usize {
        self.limits.cache
    }

    fn embed(&self, table: &Buffer, ids: &Index, (rows, d): (usize, usize), out: &mut Buffer) -> Result<()> {
        let table_rows = table_rows(("ids", ids), rows, table, d)?;
        kernels::embed(&self.device, (table, ids, out), (rows, d, table_rows))
    }

    fn scatter_add(&self, d_out: &Buffer, ids: &Index, (rows, d): (usize, usize), d_table: &mut Buffer) -> Result<()> {
        let table_rows = table_rows(("ids", ids), rows, d_table, d)?;
        // One block adds all rows that go to the same place, in ascending order.
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.sort_by_key(|&row| ids.host[row as usize]);
        let id = |&row: &u32| ids.host[row as usize];
        let mut starts: Vec<u32> =
            (0..rows).filter(|&i| i == 0 || id(&order[i]) != id(&order[i - 1])).map(|i| i as u32).collect();
        let groups = starts.len();
        starts.push(rows as u32);
        let (order, starts) = (self.index(&order)?, self.index(&starts)?);
        let sizes = (groups, rows, d, table_rows);
        match d_table.storage {
            Storage::F32 => kernels::scatter_add(&self.device, (d_out, ids, &order, &starts, d_table), sizes),
            _ => kernels::scatter_add_store(&self.device, (d_out, ids, &order, &starts, d_table), sizes),
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
    ) -> Result<()> {
        kernels::rms_norm(&self.device, (x, w, y, inv_rms), (rows, d, eps as f32))
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
    ) -> Result<()> {
        kernels::rms_norm_backward_input(&self.device, (dy, x, w, inv_rms, dx), (rows, d))?;
        let parts = parts(rows);
        let mut partial = self.scratch(parts * d)?;
        kernels::rms_norm_backward_weight(&self.device, (dy, x, inv_rms, &mut partial), (rows, d, parts))?;
        kernels::column_sum(&self.device, (&partial, dw), (parts, d))
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
    ) -> Result<()> {
        kernels::qk_norm(&self.device, (qkv, w_q, w_k, out, inv_rms), (rows, heads, eps as f32))
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
    ) -> Result<()> {
        let (device, parts, head_dim) = (&self.device, parts(rows), heads.head_dim);
        let mut partial_q = self.scratch(parts * head_dim)?;
        let mut partial_k = self.scratch(parts * head_dim)?;
        let (q, k) = (&mut partial_q, &mut partial_k);
        kernels::qk_norm_backward_weight(device, (qkv, d_qkv, inv_rms, q, k), (rows, heads, parts))?;
        kernels::column_sum(device, (&partial_q, dw_q), (parts, head_dim))?;
        kernels::column_sum(device, (&partial_k, dw_k), (parts, head_dim))?;
        kernels::qk_norm_backward_input(device, (qkv, w_q, w_k, inv_rms, d_qkv), (rows, heads))
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
    ) -> Result<()> {
        let table_rows = table_rows(("positions", positions), rows, cos, heads.head_dim / 2)?;
        let sign = if backward { -1.0 } else { 1.0 };
        kernels::rope(&self.device, (qkv, positions, cos, sin), (rows, heads, table_rows, sign))
    }

    fn attention(
        &self,
        qkv: &Buffer,
        layout: &Layout,
        heads: Heads,
        out: &mut Buffer,
        log_sum_exp: &mut Buffer,
    ) -> Result<()> {
        let lists = self.lists.packed(&self.device, layout, heads)?;
        let (count, blocks, rows) = (layout.spans.len(), lists.tiles.host.len() / 2, layout.rows());
        let pointers = (qkv, &lists.spans, &lists.tiles, out, log_sum_exp);
        kernels::attention(&self.device, pointers, (rows, count, blocks, heads))
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
    ) -> Result<()> {
        let device = &self.device;
        let lists = self.lists.packed(device, layout, heads)?;
        let PackedLists { spans, tiles, key_parts, merges, starts, followers, slots } = &*lists;
        let (count, rows, slots) = (layout.spans.len(), layout.rows(), *slots);
        let mut inner = self.scratch(rows * heads.heads)?;
        kernels::attention_inner(device, (out, d_out, &mut inner), (rows * heads.heads, heads.head_dim))?;
        let pointers = (qkv, log_sum_exp, d_out, &inner, spans, tiles, &mut *d_qkv);
        kernels::attention_backward_query(device, pointers, (rows, count, tiles.host.len() / 2, heads))?;
        let partial = slots * TILE_ROWS * 2 * heads.kv_width();
        let mut partial = (slots > 0).then(|| self.scratch(partial)).transpose()?;
        let to = (&mut *d_qkv, partial.as_mut());
        let pointers = (qkv, log_sum_exp, d_out, &inner, spans, key_parts, starts, followers, to.0, to.1);
        let blocks = key_parts.host.len() / PART_NUMBERS;
        kernels::attention_backward_key_value(device, pointers, (rows, count, blocks, slots, heads))?;
        let Some(partial) = partial else { return Ok(()) };
        let sizes = (rows, count, merges.host.len() / 4, slots, heads);
        kernels::merge_gradients(device, (&partial, spans, merges, d_qkv), sizes)
    }

    fn cache_store(&self, qkv: &Buffer, slots: &[u32], heads: Heads, cache: &mut Buffer) -> Result<()> {
        let rows = slots.len();
        let slots = self.lists.slots(&self.device, slots)?;
        let capacity = table_rows(("slots", &slots), rows, cache, 2 * heads.kv_width())?;
        kernels::cache_store(&self.device, (qkv, &slots, cache), (rows, heads, capacity))
    }

    fn cached_attention(
        &self,
        qkv: &Buffer,
        cache: &Buffer,
        spans: &[Span],
        heads: Heads,
        out: &mut Buffer,
    ) -> Result<()> {
        let last = spans.iter().map(|s| (s.start + s.len).max(s.prefix_start + s.prefix_len)).max().unwrap_or(0);
        check_len("cache", cache.len, last * 2 * heads.kv_width())?;
        let device = &self.device;
        let lists = self.lists.cached(device, spans, heads)?;
        let CachedLists { spans: of_rows, parts, merges, slots } = &*lists;
        let (rows, blocks, slots) = (spans.len(), parts.host.len() / 3, *slots);
        let partial = slots * heads.heads * (2 + heads.head_dim);
        let mut partial = (slots > 0).then(|| self.scratch(partial)).transpose()?;
        let pointers = (qkv, cache, of_rows, parts, &mut *out, partial.as_mut());
        kernels::cached_attention(device, pointers, (rows, blocks, slots, heads, last))?;
        let Some(partial) = partial else { return Ok(()) };
        let sizes = (rows, merges.host.len() / 3, slots, heads.heads, heads.head_dim);
        kernels::merge_parts(device, (&partial, merges, out), sizes)
    }

    fn swiglu(&self, gate_up: &Buffer, (rows, ff): (usize, usize), out: &mut Buffer) -> Result<()> {
        kernels::swiglu(&self.device, (gate_up, out), (rows, ff))
    }

    fn swiglu_backward(
        &self,
        gate_up: &Buffer,
        d_out: &Buffer,
        (rows, ff): (usize, usize),
        d_gate_up: &mut Buffer,
    ) -> Result<()> {
        kernels::swiglu_backward(&self.device, (gate_up, d_out, d_gate_up), (rows, ff))
    }

    fn mean_rows(&self, x: &Buffer, spans: &[(usize, usize)], d: usize, out: &mut Buffer) -> Result<()> {
        let (index, rows) = self.row_spans(spans)?;
        kernels::mean_rows(&self.device, (x, &index, out), (spans.len(), d, rows))
    }

    fn mean_rows_backward(&self, d_out: &Buffer, spans: &[(usize, usize)], d: usize, dx: &mut Buffer) -> Result<()> {
        let share_row = |a: (usize, usize), b: (usize, usize)| a.0 < b.0 + b.1 && b.0 < a.0 + a.1;
        let mut first = 0;
        while first < spans.len() {
            // Spans that share a row are added in separate launches.
            let shares = |&end: &usize| spans[first..end].iter().any(|&span| share_row(span, spans[end]));
            let end = (first + 1..spans.len()).find(shares).unwrap_or(spans.len());
            let (index, rows) = self.row_spans(&spans[first..end])?;
            kernels::mean_rows_backward(&self.device, (d_out, &index, dx), (end - first, d, rows, spans.len(), first))?;
            first = end;
        }
        Ok(())
    }
}
