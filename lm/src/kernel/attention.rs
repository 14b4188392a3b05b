//! Causal attention with an exact softmax, one query at a time.
//!
//! Sums are the same and in the same order whether the keys come from a packed batch or from a cache, so
//! sampling and scoring agree bit for bit. Only the scores of one query are held in memory.

use flowrl_core::Real;
use flowrl_core::kernel::{Math, lanes};

use crate::backend::{Heads, Span};

/// Keys and values of one head in consecutive rows: the key of row j is `rows[j·stride + key ..]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyValues<'a, T> {
    /// The elements of the rows, from the first row on.
    pub rows: &'a [T],
    /// Number of elements from one row to the next.
    pub stride: usize,
    /// Offset of the head's key in a row.
    pub key: usize,
    /// Offset of the head's value in a row.
    pub value: usize,
    /// Number of rows.
    pub len: usize,
}

impl<'a, T: Real> KeyValues<'a, T> {
    /// Returns the two parts that a row of a span attends to: its prefix, and `own` rows of the span itself.
    ///
    /// Stored rows may lack the beginning of a packed row of queries, keys and values: `origin` is the number of
    /// elements they lack.
    #[inline(always)]
    pub(crate) fn parts(rows: &'a [T], origin: usize, heads: Heads, span: Span, own: usize, head: usize) -> [Self; 2] {
        let stride = heads.qkv_width() - origin;
        let key = heads.q_width() - origin + head / (heads.heads / heads.kv_heads) * heads.head_dim;
        let part = |start: usize, len: usize| Self {
            rows: &rows[start * stride..],
            stride,
            key,
            value: key + heads.kv_width(),
            len,
        };
        [part(span.prefix_start, span.prefix_len), part(span.start, own)]
    }

    #[inline(always)]
    fn key(&self, j: usize, d: usize) -> &'a [T] {
        let at = j * self.stride + self.key;
        &self.rows[at..at + d]
    }

    #[inline(always)]
    fn value(&self, j: usize, d: usize) -> &'a [T] {
        let at = j * self.stride + self.value;
        &self.rows[at..at + d]
    }
}

/// Computes out = softmax(q·kᵀ/√d)·v over the keys of `parts` in order. Returns the largest score m and Σ
/// exp(score − m). `scores` is scratch space.
#[inline(always)]
pub(crate) fn query<T: Real, M: Math>(
    q: &[T],
    parts: [KeyValues<'_, T>; 2],
    out: &mut [T],
    scores: &mut Vec<T>,
) -> (T, T) {
    // A length known at compile time halves the time of these short sums.
    let scale = T::one() / T::of_usize(q.len()).sqrt();
    macro_rules! attend {
        ($products:expr) => {
            attend::<T, M>(
                #[inline(always)]
                |key| $products(q, key),
                scale,
                parts,
                out,
                scores,
            )
        };
    }
    match q.len() {
        _ if !M::FAST => attend!(lanes::products),
        32 => attend!(lanes::products_of::<T, 32>),
        64 => attend!(lanes::products_of::<T, 64>),
        128 => attend!(lanes::products_of::<T, 128>),
        _ => attend!(lanes::products),
    }
}

#[inline(always)]
fn attend<T: Real, M: Math>(
    products: impl Fn(&[T]) -> [T; lanes::LANES],
    scale: T,
    parts: [KeyValues<'_, T>; 2],
    out: &mut [T],
    scores: &mut Vec<T>,
) -> (T, T) {
    let d = out.len();
    let keys = parts[0].len + parts[1].len;
    let padded = keys.next_multiple_of(lanes::LANES);
    if scores.len() < padded {
        scores.resize(padded, T::zero());
    }
    let scores = &mut scores[..padded];
    let mut at = 0;
    // Products and their sums are in two loops, because compilers vectorise each but not both in one.
    let mut partial = [[T::zero(); lanes::LANES]; lanes::LANES];
    for part in parts {
        for first in (0..part.len).step_by(partial.len()) {
            let count = partial.len().min(part.len - first);
            for (j, partial) in (first..).zip(&mut partial[..count]) {
                *partial = products(part.key(j, d));
            }
            for (score, partial) in scores[at..].iter_mut().zip(&partial[..count]) {
                *score = lanes::fold(*partial, |a, b| a + b) * scale;
            }
            at += count;
        }
    }
    // The last vector is filled up with scores of probability 0.
    scores[keys..].fill(T::neg_infinity());
    let max = lanes::max(scores);
    for score in scores.as_chunks_mut::<{ lanes::LANES }>().0 {
        for s in score {
            *s = M::exp(*s - max);
        }
    }
    let total = lanes::sum(scores);
    let inverse = T::one() / total;
    let mut blocks = out.chunks_exact_mut(2 * lanes::LANES);
    for (block, out) in blocks.by_ref().enumerate() {
        let mut sums = [T::zero(); 2 * lanes::LANES];
        weigh(parts, scores, d, block * sums.len(), &mut sums);
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = sum * inverse;
        }
    }
    let rest = blocks.into_remainder();
    rest.fill(T::zero());
    weigh(parts, scores, d, d - rest.len(), rest);
    rest.iter_mut().for_each(|o| *o *= inverse);
    (max, total)
}

/// Adds to `out` the elements of the values from `offset` on, weighted by `weights`, in order.
#[inline(always)]
fn weigh<T: Real>(parts: [KeyValues<'_, T>; 2], weights: &[T], d: usize, offset: usize, out: &mut [T]) {
    let mut at = 0;
    for part in parts {
        for j in 0..part.len {
            lanes::axpy(weights[at], &part.value(j, d)[offset..offset + out.len()], out);
            at += 1;
        }
    }
}

/// Computes the gradients of one query: adds to `dq` (d), and calls `d_key_value` with (part, row, ds, p) of
/// every key, so that the caller can add dk += ds·q and dv += p·d_out.
///
/// With p = exp(s − lse) and D = d_out·out: ds = p·(d_out·v − D)/√d, dq += ds·k.
#[inline(always)]
pub(crate) fn query_backward<T: Real, M: Math>(
    q: &[T],
    parts: [KeyValues<'_, T>; 2],
    out: &[T],
    d_out: &[T],
    log_sum_exp: T,
    dq: &mut [T],
    mut d_key_value: impl FnMut(usize, usize, T, T),
) {
    let d = q.len();
    let scale = T::one() / T::of_usize(d).sqrt();
    let inner = lanes::dot(d_out, out);
    for (index, part) in parts.into_iter().enumerate() {
        for j in 0..part.len {
            let (key, value) = (part.key(j, d), part.value(j, d));
            let p = M::exp(lanes::dot(q, key) * scale - log_sum_exp);
            let ds = p * (lanes::dot(d_out, value) - inner) * scale;
            lanes::axpy(ds, key, dq);
            d_key_value(index, j, ds, p);
        }
    }
}
