//! Attention on the CPU, with rows or groups of rows distributed over threads.

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError, check_len};
use flowrl_core::kernel::lanes;
use flowrl_core::with_math;

use super::check;
use crate::backend::{Heads, Layout, Span};
use crate::kernel::attention::{self as kernel, KeyValues};

/// Computes out = softmax(q·kᵀ/√d)·v, rows over threads.
pub(super) fn forward<T: Real>(
    backend: &CpuBackend<T>,
    qkv: &[T],
    layout: &Layout,
    heads: Heads,
    out: &mut [T],
    log_sum_exp: &mut [T],
) -> Result<(), CpuError> {
    layout.check()?;
    let rows = layout.rows();
    let (width, q_width, d) = (heads.qkv_width(), heads.q_width(), heads.head_dim);
    check!(qkv: rows * width, out: rows * q_width, log_sum_exp: rows * heads.heads);
    let row_span: Vec<Span> = layout.spans.iter().flat_map(|s| std::iter::repeat_n(*s, s.len)).collect();
    // Later rows see more keys, so there are many more blocks of rows than threads to balance the work.
    let operations = layout.spans.iter().map(|s| s.len * (s.prefix_len + s.len) * q_width).sum::<usize>();
    let block = rows.div_ceil(backend.pool().jobs(operations) * 4).max(1);
    let jobs: Vec<_> = out[..rows * q_width]
        .chunks_mut(block * q_width)
        .zip(log_sum_exp[..rows * heads.heads].chunks_mut(block * heads.heads))
        .enumerate()
        .collect();
    backend.pool().run(jobs, |(index, (out, log_sum_exp))| {
        let mut scores = Vec::new();
        with_math!(backend, M => {
            let results = out.chunks_exact_mut(q_width).zip(log_sum_exp.chunks_exact_mut(heads.heads));
            for (row, (out, log_sum_exp)) in (index * block..).zip(results) {
                let span = row_span[row];
                for (h, (out, lse)) in out.chunks_exact_mut(d).zip(log_sum_exp).enumerate() {
                    let parts = key_values(qkv, 0, heads, span, row + 1 - span.start, h);
                    let (max, total) = kernel::query::<T, M>(&qkv[row * width + h * d..][..d], parts, out, &mut scores);
                    *lse = max + total.ln();
                }
            }
        });
    });
    Ok(())
}

/// Computes d_qkv, groups over threads.
pub(super) fn backward<T: Real>(
    backend: &CpuBackend<T>,
    qkv: &[T],
    out: &[T],
    log_sum_exp: &[T],
    d_out: &[T],
    layout: &Layout,
    heads: Heads,
    d_qkv: &mut [T],
) -> Result<(), CpuError> {
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
    backend.pool().run(jobs, |(spans, d_qkv)| {
        d_qkv.fill(T::zero());
        let first = spans.first().map_or(0, |s| s.start);
        let mut dq = vec![T::zero(); d];
        with_math!(backend, M => for span in spans {
            for row in span.start..span.start + span.len {
                for h in 0..heads.heads {
                    let at = row * heads.heads + h;
                    let (out, d_out) = (&out[at * d..][..d], &d_out[at * d..][..d]);
                    let parts = key_values(qkv, 0, heads, *span, row + 1 - span.start, h);
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
                    kernel::query_backward::<T, M>(q, parts, out, d_out, log_sum_exp[at], &mut dq, add);
                    lanes::axpy(T::one(), &dq, &mut d_qkv[(row - first) * width + h * d..][..d]);
                }
            }
        });
    });
    Ok(())
}

/// Computes the attention of one new row per span to the cache.
pub(super) fn cached<T: Real>(
    backend: &CpuBackend<T>,
    qkv: &[T],
    cache: &[T],
    spans: &[Span],
    heads: Heads,
    out: &mut [T],
) -> Result<(), CpuError> {
    let (rows, width, q_width, d) = (spans.len(), heads.qkv_width(), heads.q_width(), heads.head_dim);
    check!(qkv: rows * width, out: rows * q_width);
    let last = spans.iter().map(|s| (s.start + s.len).max(s.prefix_start + s.prefix_len)).max().unwrap_or(0);
    check!(cache: last * 2 * heads.kv_width());
    let operations = spans.iter().map(|s| (s.prefix_len + s.len) * q_width).sum::<usize>();
    let block = rows.div_ceil(backend.pool().jobs(operations)).max(1);
    let jobs: Vec<_> = out[..rows * q_width].chunks_mut(block * q_width).enumerate().collect();
    backend.pool().run(jobs, |(index, out)| {
        let mut scores = Vec::new();
        with_math!(backend, M => for (row, out) in (index * block..).zip(out.chunks_exact_mut(q_width)) {
            for (h, out) in out.chunks_exact_mut(d).enumerate() {
                let parts = key_values(cache, heads.q_width(), heads, spans[row], spans[row].len, h);
                kernel::query::<T, M>(&qkv[row * width + h * d..][..d], parts, out, &mut scores);
            }
        });
    });
    Ok(())
}

/// Returns the two parts that a row of a span attends to: its prefix, and `own` rows of the span itself.
///
/// Stored rows may lack the beginning of a packed row of queries, keys and values: `origin` is the number of
/// elements they lack.
#[inline(always)]
fn key_values<T: Real>(
    rows: &[T],
    origin: usize,
    heads: Heads,
    span: Span,
    own: usize,
    head: usize,
) -> [KeyValues<'_, T>; 2] {
    let stride = heads.qkv_width() - origin;
    let key = heads.q_width() - origin + head / (heads.heads / heads.kv_heads) * heads.head_dim;
    let part = |start: usize, len: usize| KeyValues {
        rows: &rows[start * stride..],
        stride,
        key,
        value: key + heads.kv_width(),
        len,
    };
    [part(span.prefix_start, span.prefix_len), part(span.start, own)]
}
