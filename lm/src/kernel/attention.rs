//! Causal attention with an exact softmax, one query at a time: the same sums in the same order whether the keys come from a
//! packed batch or from a cache, so sampling and scoring agree bit for bit. Scores of one query only are ever held.

use flowrl_core::Real;
use flowrl_core::kernel::{Math, lanes};

/// Keys and values of consecutive rows: row j's key of head h is `rows[j·stride + key + h·head_dim ..]`.
#[derive(Clone, Copy, Debug)]
pub struct KeyValues<'a, T> {
    /// The first row starts here.
    pub rows: &'a [T],
    /// Elements from row to row.
    pub stride: usize,
    /// Offset of this head's key in a row.
    pub key: usize,
    /// Offset of this head's value in a row.
    pub value: usize,
    /// Number of rows.
    pub len: usize,
}

impl<'a, T: Real> KeyValues<'a, T> {
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

/// out = softmax(q·kᵀ/√d)·v over the keys of `parts` in order; returns log Σ exp of the scores. `scores` is scratch.
#[inline(always)]
pub fn query<T: Real, M: Math>(q: &[T], parts: [KeyValues<'_, T>; 2], out: &mut [T], scores: &mut Vec<T>) -> T {
    let d = q.len();
    let scale = T::one() / T::of_usize(d).sqrt();
    scores.clear();
    for part in parts {
        for j in 0..part.len {
            scores.push(lanes::dot(q, part.key(j, d)) * scale);
        }
    }
    let max = lanes::max(scores);
    for s in scores.iter_mut() {
        *s = M::exp(*s - max);
    }
    let total = lanes::sum(scores);
    out.fill(T::zero());
    let mut at = 0;
    for part in parts {
        for j in 0..part.len {
            lanes::axpy(scores[at], part.value(j, d), out);
            at += 1;
        }
    }
    let inverse = T::one() / total;
    for o in out.iter_mut() {
        *o *= inverse;
    }
    max + total.ln()
}

/// Gradients of one query: adds to `dq` (d), and gives (part, row, ds, p) of every key to `d_key_value`,
/// which adds dk += ds·q and dv += p·d_out where those gradients are.
///
/// With p = exp(s − lse) and D = d_out·out: ds = p·(d_out·v − D)/√d, dq += ds·k.
#[inline(always)]
pub fn query_backward<T: Real, M: Math>(
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
