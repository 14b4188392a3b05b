//! The transformer operations on the CPU.

mod attention;
mod check;

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError, check_len};
use flowrl_core::kernel::{lanes, vectorized};
use flowrl_core::with_math;

use crate::backend::{Heads, Layout, Span, TransformerBackend};
use crate::kernel::{norm, rope, swiglu};
use check::{check_rows, check_spans};

/// Returns the number of rows per job with which `rows` rows of this many operations each keep every thread
/// busy.
fn block<T: Real>(backend: &CpuBackend<T>, rows: usize, operations: usize) -> usize {
    rows.div_ceil(backend.pool().jobs(rows * operations)).max(1)
}

impl<T: Real> TransformerBackend for CpuBackend<T> {
    fn workers(&self) -> usize {
        self.pool().threads()
    }

    fn side_by_side<P: Send, R: Send>(&self, parts: Vec<P>, work: impl Fn(Self, P) -> R + Send + Sync) -> Vec<R> {
        self.pool().map(parts, |part| work(self.serial(), part))
    }

    fn embed(
        &self,
        table: &Vec<T>,
        ids: &Vec<u32>,
        (rows, d): (usize, usize),
        out: &mut Vec<T>,
    ) -> Result<(), CpuError> {
        check_rows("ids", ids, rows, "table", table, d)?;
        check_len("out", out.len(), rows * d)?;
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
    ) -> Result<(), CpuError> {
        check_rows("ids", ids, rows, "d_table", d_table, d)?;
        check_len("d_out", d_out.len(), rows * d)?;
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
    ) -> Result<(), CpuError> {
        check_len("x", x.len(), rows * d)?;
        check_len("w", w.len(), d)?;
        check_len("y", y.len(), rows * d)?;
        check_len("inv_rms", inv_rms.len(), rows)?;
        let block = block(self, rows, d);
        let jobs: Vec<_> = x[..rows * d]
            .chunks(block * d)
            .zip(y[..rows * d].chunks_mut(block * d))
            .zip(inv_rms[..rows].chunks_mut(block))
            .collect();
        let eps = T::of(eps);
        self.pool().run(jobs, |((x, y), inv_rms)| {
            vectorized(
                #[inline(always)]
                || {
                    for ((x, y), s) in x.chunks_exact(d).zip(y.chunks_exact_mut(d)).zip(inv_rms) {
                        *s = norm::row(x, &w[..d], eps, y);
                    }
                },
            );
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
    ) -> Result<(), CpuError> {
        check_len("dy", dy.len(), rows * d)?;
        check_len("x", x.len(), rows * d)?;
        check_len("w", w.len(), d)?;
        check_len("inv_rms", inv_rms.len(), rows)?;
        check_len("dx", dx.len(), rows * d)?;
        check_len("dw", dw.len(), d)?;
        let block = block(self, rows, 2 * d);
        let jobs: Vec<_> = dy[..rows * d]
            .chunks(block * d)
            .zip(x[..rows * d].chunks(block * d))
            .zip(inv_rms[..rows].chunks(block))
            .zip(dx[..rows * d].chunks_mut(block * d))
            .collect();
        self.pool().run(jobs, |(((dy, x), inv_rms), dx)| {
            vectorized(
                #[inline(always)]
                || {
                    let rows = dy.chunks_exact(d).zip(x.chunks_exact(d)).zip(inv_rms).zip(dx.chunks_exact_mut(d));
                    for (((dy, x), &s), dx) in rows {
                        norm::row_backward_input(dy, x, &w[..d], s, dx);
                    }
                },
            );
        });
        vectorized(
            #[inline(always)]
            || {
                for ((dy, x), &s) in dy[..rows * d].chunks_exact(d).zip(x.chunks_exact(d)).zip(inv_rms) {
                    norm::row_backward_weight(dy, x, s, &mut dw[..d]);
                }
            },
        );
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
    ) -> Result<(), CpuError> {
        let (width, d, count) = (heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        check_len("qkv", qkv.len(), rows * width)?;
        check_len("out", out.len(), rows * width)?;
        check_len("w_q", w_q.len(), d)?;
        check_len("w_k", w_k.len(), d)?;
        check_len("inv_rms", inv_rms.len(), rows * count)?;
        let block = block(self, rows, width);
        let jobs: Vec<_> = qkv[..rows * width]
            .chunks(block * width)
            .zip(out[..rows * width].chunks_mut(block * width))
            .zip(inv_rms[..rows * count].chunks_mut(block * count))
            .collect();
        let eps = T::of(eps);
        self.pool().run(jobs, |((x, y), inv_rms)| {
            vectorized(
                #[inline(always)]
                || {
                    let rows =
                        x.chunks_exact(width).zip(y.chunks_exact_mut(width)).zip(inv_rms.chunks_exact_mut(count));
                    for ((x, y), inv_rms) in rows {
                        for (h, s) in inv_rms.iter_mut().enumerate() {
                            let w = if h < heads.heads { w_q } else { w_k };
                            *s = norm::row(&x[h * d..][..d], &w[..d], eps, &mut y[h * d..][..d]);
                        }
                        y[count * d..].copy_from_slice(&x[count * d..]);
                    }
                },
            );
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
    ) -> Result<(), CpuError> {
        let (width, d, count) = (heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        check_len("qkv", qkv.len(), rows * width)?;
        check_len("d_qkv", d_qkv.len(), rows * width)?;
        check_len("w_q", w_q.len(), d)?;
        check_len("w_k", w_k.len(), d)?;
        check_len("dw_q", dw_q.len(), d)?;
        check_len("dw_k", dw_k.len(), d)?;
        check_len("inv_rms", inv_rms.len(), rows * count)?;
        vectorized(
            #[inline(always)]
            || {
                let rows = qkv[..rows * width]
                    .chunks_exact(width)
                    .zip(d_qkv.chunks_exact_mut(width))
                    .zip(inv_rms.chunks_exact(count));
                for ((x, dy), inv_rms) in rows {
                    for (h, &s) in inv_rms.iter().enumerate() {
                        let (w, dw) = if h < heads.heads { (w_q, &mut *dw_q) } else { (w_k, &mut *dw_k) };
                        let (x, dy) = (&x[h * d..][..d], &mut dy[h * d..][..d]);
                        norm::row_backward_weight(dy, x, s, &mut dw[..d]);
                        norm::row_backward_in_place(dy, x, &w[..d], s);
                    }
                }
            },
        );
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
    ) -> Result<(), CpuError> {
        let (width, half) = (heads.qkv_width(), heads.head_dim / 2);
        check_len("qkv", qkv.len(), rows * width)?;
        check_rows("positions", positions, rows, "cos", cos, half)?;
        check_len("sin", sin.len(), cos.len())?;
        let block = block(self, rows, width);
        let jobs: Vec<_> = qkv[..rows * width].chunks_mut(block * width).zip(positions[..rows].chunks(block)).collect();
        self.pool().run(jobs, |(qkv, positions)| {
            vectorized(
                #[inline(always)]
                || {
                    for (row, &p) in qkv.chunks_exact_mut(width).zip(positions) {
                        let (cos, sin) = (&cos[p as usize * half..][..half], &sin[p as usize * half..][..half]);
                        for head in row[..heads.q_width() + heads.kv_width()].chunks_exact_mut(heads.head_dim) {
                            rope::head(head, cos, sin, backward);
                        }
                    }
                },
            );
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
    ) -> Result<(), CpuError> {
        attention::forward(self, qkv, layout, heads, out, log_sum_exp)
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
    ) -> Result<(), CpuError> {
        attention::backward(self, qkv, out, log_sum_exp, d_out, layout, heads, d_qkv)
    }

    fn cache_store(&self, qkv: &Vec<T>, slots: &[u32], heads: Heads, cache: &mut Vec<T>) -> Result<(), CpuError> {
        let (width, kv) = (heads.qkv_width(), 2 * heads.kv_width());
        check_len("qkv", qkv.len(), slots.len() * width)?;
        for (row, &slot) in qkv.chunks_exact(width).zip(slots) {
            let at = slot as usize * kv;
            check_len("cache", cache.len(), at + kv)?;
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
    ) -> Result<(), CpuError> {
        attention::cached(self, qkv, cache, spans, heads, out)
    }

    fn swiglu(&self, gate_up: &Vec<T>, (rows, ff): (usize, usize), out: &mut Vec<T>) -> Result<(), CpuError> {
        check_len("gate_up", gate_up.len(), rows * 2 * ff)?;
        check_len("out", out.len(), rows * ff)?;
        let block = block(self, rows, ff * 4);
        let jobs: Vec<_> =
            gate_up[..rows * 2 * ff].chunks(block * 2 * ff).zip(out[..rows * ff].chunks_mut(block * ff)).collect();
        self.pool().run(jobs, |(gate_up, out)| {
            with_math!(self, M => for (gate_up, out) in gate_up.chunks_exact(2 * ff).zip(out.chunks_exact_mut(ff)) {
                swiglu::row::<T, M>(gate_up, out);
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
    ) -> Result<(), CpuError> {
        check_len("gate_up", gate_up.len(), rows * 2 * ff)?;
        check_len("d_out", d_out.len(), rows * ff)?;
        check_len("d_gate_up", d_gate_up.len(), rows * 2 * ff)?;
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
                    swiglu::row_backward::<T, M>(gate_up, d_out, d_gate_up);
                }
            });
        });
        Ok(())
    }

    fn mean_rows(&self, x: &Vec<T>, spans: &[(usize, usize)], d: usize, out: &mut Vec<T>) -> Result<(), CpuError> {
        check_spans("x", x, spans, d)?;
        check_len("out", out.len(), spans.len() * d)?;
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

    fn mean_rows_backward(
        &self,
        d_out: &Vec<T>,
        spans: &[(usize, usize)],
        d: usize,
        dx: &mut Vec<T>,
    ) -> Result<(), CpuError> {
        check_spans("dx", dx, spans, d)?;
        check_len("d_out", d_out.len(), spans.len() * d)?;
        for (d_out, &(start, len)) in d_out.chunks_exact(d).zip(spans) {
            let scale = T::one() / T::of_usize(len.max(1));
            for row in dx[start * d..][..len * d].chunks_exact_mut(d) {
                lanes::axpy(scale, d_out, row);
            }
        }
        Ok(())
    }
}
