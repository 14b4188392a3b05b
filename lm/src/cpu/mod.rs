//! The transformer operations on the CPU.

mod helpers;

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_core::kernel::lanes;
use flowrl_core::with_math;

use crate::backend::{Heads, Layout, Span, TransformerBackend};
use crate::kernel;
use crate::kernel::attention::{self, KeyValues};
use helpers::{block, check, check_rows, check_spans, vectorize};

type Result<T> = std::result::Result<T, CpuError>;

impl<T: Real> TransformerBackend for CpuBackend<T> {
    fn workers(&self) -> usize {
        self.pool().threads()
    }

    fn side_by_side<P: Send, R: Send>(&self, parts: Vec<P>, work: impl Fn(Self, P) -> R + Send + Sync) -> Vec<R> {
        self.pool().map(parts, |part| work(self.serial(), part))
    }

    fn embed(&self, table: &Vec<T>, ids: &Vec<u32>, (rows, d): (usize, usize), out: &mut Vec<T>) -> Result<()> {
        check_rows("ids", ids, rows, "table", table, d)?;
        check!(out: rows * d);
        for (out, &id) in out.chunks_exact_mut(d).zip(&ids[..rows]) {
            out.copy_from_slice(&table[id as usize * d..][..d]);
        }
        Ok(())
    }

    fn scatter_add(
        &self,
        d_out: &Vec<T>,
        ids: &Vec<u32>,
        (rows, d): (usize, usize),
        d_table: &mut Vec<T>,
    ) -> Result<()> {
        check_rows("ids", ids, rows, "d_table", d_table, d)?;
        check!(d_out: rows * d);
        for (d_out, &id) in d_out.chunks_exact(d).zip(&ids[..rows]) {
            lanes::axpy(T::one(), d_out, &mut d_table[id as usize * d..][..d]);
        }
        Ok(())
    }

    fn rms_norm(
        &self,
        x: &Vec<T>,
        w: &Vec<T>,
        eps: f64,
        (rows, d): (usize, usize),
        y: &mut Vec<T>,
        inv_rms: &mut Vec<T>,
    ) -> Result<()> {
        check!(x: rows * d, w: d, y: rows * d, inv_rms: rows);
        let block = block(self, rows, d);
        let jobs: Vec<_> = x[..rows * d]
            .chunks(block * d)
            .zip(y[..rows * d].chunks_mut(block * d))
            .zip(inv_rms[..rows].chunks_mut(block))
            .collect();
        let eps = T::of(eps);
        self.pool().run(jobs, |((x, y), inv_rms)| {
            vectorize!(for ((x, y), s) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(inv_rms) {
                *s = kernel::rms_norm(x, &w[..d], eps, y);
            });
        });
        Ok(())
    }

    fn rms_norm_backward(
        &self,
        dy: &Vec<T>,
        x: &Vec<T>,
        w: &Vec<T>,
        inv_rms: &Vec<T>,
        (rows, d): (usize, usize),
        dx: &mut Vec<T>,
        dw: &mut Vec<T>,
    ) -> Result<()> {
        check!(dy: rows * d, x: rows * d, w: d, inv_rms: rows, dx: rows * d, dw: d);
        let block = block(self, rows, 2 * d);
        let jobs: Vec<_> = dy[..rows * d]
            .chunks(block * d)
            .zip(x[..rows * d].chunks(block * d))
            .zip(inv_rms[..rows].chunks(block))
            .zip(dx[..rows * d].chunks_mut(block * d))
            .collect();
        self.pool().run(jobs, |(((dy, x), inv_rms), dx)| {
            vectorize!({
                let rows = dy.chunks_exact(d).zip(x.chunks_exact(d)).zip(inv_rms).zip(dx.chunks_exact_mut(d));
                for (((dy, x), &s), dx) in rows {
                    kernel::rms_norm_backward_input(dy, x, &w[..d], s, dx);
                }
            });
        });
        vectorize!(for ((dy, x), &s) in dy[..rows * d].chunks_exact(d).zip(x.chunks_exact(d)).zip(inv_rms) {
            kernel::rms_norm_backward_weight(dy, x, s, &mut dw[..d]);
        });
        Ok(())
    }

    fn qk_norm(
        &self,
        qkv: &Vec<T>,
        w_q: &Vec<T>,
        w_k: &Vec<T>,
        eps: f64,
        rows: usize,
        heads: Heads,
        out: &mut Vec<T>,
        inv_rms: &mut Vec<T>,
    ) -> Result<()> {
        let (width, d, count) = (heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        check!(qkv: rows * width, out: rows * width, w_q: d, w_k: d, inv_rms: rows * count);
        let block = block(self, rows, width);
        let jobs: Vec<_> = qkv[..rows * width]
            .chunks(block * width)
            .zip(out[..rows * width].chunks_mut(block * width))
            .zip(inv_rms[..rows * count].chunks_mut(block * count))
            .collect();
        let eps = T::of(eps);
        self.pool().run(jobs, |((x, y), inv_rms)| {
            vectorize!({
                let rows = x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(inv_rms.chunks_exact_mut(count));
                for ((x, y), inv_rms) in rows {
                    for (h, s) in inv_rms.iter_mut().enumerate() {
                        let w = if h < heads.heads { w_q } else { w_k };
                        *s = kernel::rms_norm(&x[h * d..][..d], &w[..d], eps, &mut y[h * d..][..d]);
                    }
                    y[count * d..].copy_from_slice(&x[count * d..]);
                }
            });
        });
        Ok(())
    }

    fn qk_norm_backward(
        &self,
        qkv: &Vec<T>,
        w_q: &Vec<T>,
        w_k: &Vec<T>,
        inv_rms: &Vec<T>,
        rows: usize,
        heads: Heads,
        d_qkv: &mut Vec<T>,
        dw_q: &mut Vec<T>,
        dw_k: &mut Vec<T>,
    ) -> Result<()> {
        let (width, d, count) = (heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        check!(qkv: rows * width, d_qkv: rows * width, w_q: d, w_k: d, dw_q: d, dw_k: d, inv_rms: rows * count);
        vectorize!({
            let rows = qkv[..rows * width]
                .chunks_exact(width)
                .zip(d_qkv.chunks_exact_mut(width))
                .zip(inv_rms.chunks_exact(count));
            for ((x, dy), inv_rms) in rows {
                for (h, &s) in inv_rms.iter().enumerate() {
                    let (w, dw) = if h < heads.heads { (w_q, &mut *dw_q) } else { (w_k, &mut *dw_k) };
                    let (x, dy) = (&x[h * d..][..d], &mut dy[h * d..][..d]);
                    kernel::rms_norm_backward_weight(dy, x, s, &mut dw[..d]);
                    kernel::rms_norm_backward_in_place(dy, x, &w[..d], s);
                }
            }
        });
        Ok(())
    }

    fn rope(
        &self,
        qkv: &mut Vec<T>,
        positions: &Vec<u32>,
        cos: &Vec<T>,
        sin: &Vec<T>,
        rows: usize,
        heads: Heads,
        backward: bool,
    ) -> Result<()> {
        let (width, half) = (heads.qkv_width(), heads.head_dim / 2);
        check!(qkv: rows * width);
        check_rows("positions", positions, rows, "cos", cos, half)?;
        check!(sin: cos.len());
        let block = block(self, rows, width);
        let jobs: Vec<_> = qkv[..rows * width].chunks_mut(block * width).zip(positions[..rows].chunks(block)).collect();
        self.pool().run(jobs, |(qkv, positions)| {
            vectorize!(for (row, &p) in qkv.chunks_exact_mut(width).zip(positions) {
                let (cos, sin) = (&cos[p as usize * half..][..half], &sin[p as usize * half..][..half]);
                for head in row[..heads.q_width() + heads.kv_width()].chunks_exact_mut(heads.head_dim) {
                    kernel::rotate(head, cos, sin, backward);
                }
            });
        });
        Ok(())
    }

    fn attention(
        &self,
        qkv: &Vec<T>,
        layout: &Layout,
        heads: Heads,
        out: &mut Vec<T>,
        log_sum_exp: &mut Vec<T>,
    ) -> Result<()> {
        layout.check()?;
        let rows = layout.rows();
        let (width, q_width, d) = (heads.qkv_width(), heads.q_width(), heads.head_dim);
        check!(qkv: rows * width, out: rows * q_width, log_sum_exp: rows * heads.heads);
        let row_span: Vec<Span> = layout.spans.iter().flat_map(|s| std::iter::repeat_n(*s, s.len)).collect();
        // Later rows see more keys, so there are many more blocks of rows than threads to balance the work.
        let operations = layout.spans.iter().map(|s| s.len * (s.prefix_len + s.len) * q_width).sum::<usize>();
        let block = rows.div_ceil(self.pool().jobs(operations) * 4).max(1);
        let jobs: Vec<_> = out[..rows * q_width]
            .chunks_mut(block * q_width)
            .zip(log_sum_exp[..rows * heads.heads].chunks_mut(block * heads.heads))
            .enumerate()
            .collect();
        self.pool().run(jobs, |(index, (out, log_sum_exp))| {
            let mut scores = Vec::new();
            with_math!(self, M => {
                let results = out.chunks_exact_mut(q_width).zip(log_sum_exp.chunks_exact_mut(heads.heads));
                for (row, (out, log_sum_exp)) in (index * block..).zip(results) {
                    let span = row_span[row];
                    for (h, (out, lse)) in out.chunks_exact_mut(d).zip(log_sum_exp).enumerate() {
                        let parts = KeyValues::parts(qkv, 0, heads, span, row + 1 - span.start, h);
                        let (max, total) = attention::query::<T, M>(&qkv[row * width + h * d..][..d], parts, out, &mut scores);
                        *lse = max + total.ln();
                    }
                }
            });
        });
        Ok(())
    }

    fn attention_backward(
        &self,
        qkv: &Vec<T>,
        out: &Vec<T>,
        log_sum_exp: &Vec<T>,
        d_out: &Vec<T>,
        layout: &Layout,
        heads: Heads,
        d_qkv: &mut Vec<T>,
    ) -> Result<()> {
        layout.check()?;
        let rows = layout.rows();
        let (width, q_width, d) = (heads.qkv_width(), heads.q_width(), heads.head_dim);
        check!(
            qkv: rows * width, out: rows * q_width, d_out: rows * q_width, log_sum_exp: rows * heads.heads,
            d_qkv: rows * width
        );
        // A group owns its rows of d_qkv, so groups can run on different threads while sums keep their order.
        let mut jobs = Vec::with_capacity(layout.groups.len());
        let mut rest = &mut d_qkv[..rows * width];
        for group in layout.groups.windows(2) {
            let spans = &layout.spans[group[0]..group[1]];
            let (mine, others) = rest.split_at_mut(spans.iter().map(|s| s.len).sum::<usize>() * width);
            rest = others;
            jobs.push((spans, mine));
        }
        self.pool().run(jobs, |(spans, d_qkv)| {
            d_qkv.fill(T::zero());
            let first = spans.first().map_or(0, |s| s.start);
            let mut dq = vec![T::zero(); d];
            with_math!(self, M => for span in spans {
                for row in span.start..span.start + span.len {
                    for h in 0..heads.heads {
                        let at = row * heads.heads + h;
                        let (out, d_out) = (&out[at * d..][..d], &d_out[at * d..][..d]);
                        let parts = KeyValues::parts(qkv, 0, heads, *span, row + 1 - span.start, h);
                        let q = &qkv[row * width + h * d..][..d];
                        let kv_head = h / (heads.heads / heads.kv_heads);
                        dq.fill(T::zero());
                        let add = |part: usize, j: usize, ds: T, p: T| {
                            let start = [span.prefix_start, span.start][part] + j - first;
                            let row = &mut d_qkv[start * width..][..width];
                            let (keys, values) = row[q_width..].split_at_mut(heads.kv_width());
                            lanes::axpy(ds, q, &mut keys[kv_head * d..][..d]);
                            lanes::axpy(p, d_out, &mut values[kv_head * d..][..d]);
                        };
                        attention::query_backward::<T, M>(q, parts, out, d_out, log_sum_exp[at], &mut dq, add);
                        lanes::axpy(T::one(), &dq, &mut d_qkv[(row - first) * width + h * d..][..d]);
                    }
                }
            });
        });
        Ok(())
    }

    fn cache_store(&self, qkv: &Vec<T>, slots: &[u32], heads: Heads, cache: &mut Vec<T>) -> Result<()> {
        let (width, kv) = (heads.qkv_width(), 2 * heads.kv_width());
        check!(qkv: slots.len() * width);
        for (row, &slot) in qkv.chunks_exact(width).zip(slots) {
            let at = slot as usize * kv;
            check!(cache: at + kv);
            cache[at..at + kv].copy_from_slice(&row[heads.q_width()..]);
        }
        Ok(())
    }

    fn cached_attention(
        &self,
        qkv: &Vec<T>,
        cache: &Vec<T>,
        spans: &[Span],
        heads: Heads,
        out: &mut Vec<T>,
    ) -> Result<()> {
        let (rows, width, q_width, d) = (spans.len(), heads.qkv_width(), heads.q_width(), heads.head_dim);
        check!(qkv: rows * width, out: rows * q_width);
        let last = spans.iter().map(|s| (s.start + s.len).max(s.prefix_start + s.prefix_len)).max().unwrap_or(0);
        check!(cache: last * 2 * heads.kv_width());
        let operations = spans.iter().map(|s| (s.prefix_len + s.len) * q_width).sum::<usize>();
        let block = rows.div_ceil(self.pool().jobs(operations)).max(1);
        let jobs: Vec<_> = out[..rows * q_width].chunks_mut(block * q_width).enumerate().collect();
        self.pool().run(jobs, |(index, out)| {
            let mut scores = Vec::new();
            with_math!(self, M => for (row, out) in (index * block..).zip(out.chunks_exact_mut(q_width)) {
                for (h, out) in out.chunks_exact_mut(d).enumerate() {
                    let parts = KeyValues::parts(cache, heads.q_width(), heads, spans[row], spans[row].len, h);
                    attention::query::<T, M>(&qkv[row * width + h * d..][..d], parts, out, &mut scores);
                }
            });
        });
        Ok(())
    }

    fn swiglu(&self, gate_up: &Vec<T>, (rows, ff): (usize, usize), out: &mut Vec<T>) -> Result<()> {
        check!(gate_up: rows * 2 * ff, out: rows * ff);
        let block = block(self, rows, ff * 4);
        let jobs: Vec<_> =
            gate_up[..rows * 2 * ff].chunks(block * 2 * ff).zip(out[..rows * ff].chunks_mut(block * ff)).collect();
        self.pool().run(jobs, |(gate_up, out)| {
            with_math!(self, M => for (gate_up, out) in gate_up.chunks_exact(2 * ff).zip(out.chunks_exact_mut(ff)) {
                kernel::swiglu::<T, M>(gate_up, out);
            });
        });
        Ok(())
    }

    fn swiglu_backward(
        &self,
        gate_up: &Vec<T>,
        d_out: &Vec<T>,
        (rows, ff): (usize, usize),
        d_gate_up: &mut Vec<T>,
    ) -> Result<()> {
        check!(gate_up: rows * 2 * ff, d_out: rows * ff, d_gate_up: rows * 2 * ff);
        let block = block(self, rows, ff * 4);
        let jobs: Vec<_> = gate_up[..rows * 2 * ff]
            .chunks(block * 2 * ff)
            .zip(d_out[..rows * ff].chunks(block * ff))
            .zip(d_gate_up[..rows * 2 * ff].chunks_mut(block * 2 * ff))
            .collect();
        self.pool().run(jobs, |((gate_up, d_out), d_gate_up)| {
            with_math!(self, M => {
                let rows = gate_up.chunks_exact(2 * ff).zip(d_out.chunks_exact(ff)).zip(d_gate_up.chunks_exact_mut(2 * ff));
                for ((gate_up, d_out), d_gate_up) in rows {
                    kernel::swiglu_backward::<T, M>(gate_up, d_out, d_gate_up);
                }
            });
        });
        Ok(())
    }

    fn mean_rows(&self, x: &Vec<T>, spans: &[(usize, usize)], d: usize, out: &mut Vec<T>) -> Result<()> {
        check_spans("x", x, spans, d)?;
        check!(out: spans.len() * d);
        for (out, &(start, len)) in out.chunks_exact_mut(d).zip(spans) {
            out.fill(T::zero());
            for row in x[start * d..][..len * d].chunks_exact(d) {
                lanes::axpy(T::one(), row, out);
            }
            let scale = T::one() / T::of_usize(len.max(1));
            out.iter_mut().for_each(|v| *v *= scale);
        }
        Ok(())
    }

    fn mean_rows_backward(&self, d_out: &Vec<T>, spans: &[(usize, usize)], d: usize, dx: &mut Vec<T>) -> Result<()> {
        check_spans("dx", dx, spans, d)?;
        check!(d_out: spans.len() * d);
        for (d_out, &(start, len)) in d_out.chunks_exact(d).zip(spans) {
            let scale = T::one() / T::of_usize(len.max(1));
            for row in dx[start * d..][..len * d].chunks_exact_mut(d) {
                lanes::axpy(scale, d_out, row);
            }
        }
        Ok(())
    }
}
