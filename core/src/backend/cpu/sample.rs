//! Drawing one token from a row of logits.

use alloc::vec::Vec;

use crate::Real;
use crate::backend::Sampler;
use crate::kernel::Math;
use crate::kernel::softmax::{argmax, pick, summarize};

/// Draws one token, but never one that `mask` marks. Returns it with its log-probability and the entropy, both under the
/// distribution that it was drawn from, and the total probability of the marked tokens in the softmax of the whole row.
#[inline(always)]
pub(super) fn draw<T: Real, M: Math>(
    logits: &[T],
    mask: Option<&Vec<u32>>,
    sampler: &Sampler,
    u: f64,
) -> (u32, T, T, T) {
    if let Some(mask) = mask {
        return draw_others::<T, M>(logits, mask, sampler, u);
    }
    let (token, log_prob, entropy) = draw_any::<T, M>(logits, sampler, u);
    (token, log_prob, entropy, T::zero())
}

#[inline(always)]
fn draw_any<T: Real, M: Math>(logits: &[T], sampler: &Sampler, u: f64) -> (u32, T, T) {
    let scale = T::of(sampler.scale());
    let summary = summarize::<T, M>(logits, scale);
    let log_prob = |token: usize| summary.log_prob(logits[token] * scale);
    if sampler.temperature == 0.0 {
        let token = argmax(logits);
        return (token as u32, log_prob(token), summary.entropy);
    }
    if sampler.is_exact() {
        let token = pick::<T, M>(logits, summary.log_sum_exp(), scale, T::of(u));
        return (token as u32, log_prob(token), summary.entropy);
    }
    let kept = nucleus::<T, M>(logits, scale, summary.log_sum_exp(), sampler);
    let truncated: Vec<T> = kept.iter().map(|&i| logits[i as usize]).collect();
    let summary = summarize::<T, M>(&truncated, scale);
    let at = pick::<T, M>(&truncated, summary.log_sum_exp(), scale, T::of(u));
    (kept[at], summary.log_prob(truncated[at] * scale), summary.entropy)
}

#[inline(always)]
fn draw_others<T: Real, M: Math>(logits: &[T], mask: &[u32], sampler: &Sampler, u: f64) -> (u32, T, T, T) {
    let scale = T::of(sampler.scale());
    let is_excluded = |i: usize| mask[i / 32] >> (i % 32) & 1 == 1;
    let others = |(i, &z): (usize, &T)| if is_excluded(i) { T::neg_infinity() } else { z };
    let others: Vec<T> = logits.iter().enumerate().map(others).collect();
    let (token, mut log_prob, mut entropy) = draw_any::<T, M>(&others, sampler, u);
    let (whole, rest) = (summarize::<T, M>(logits, scale), summarize::<T, M>(&others, scale));
    let excluded = (T::one() - M::exp(rest.log_sum_exp() - whole.log_sum_exp())).max(T::zero());
    let count = (0..logits.len()).filter(|&i| !is_excluded(i)).count();
    let is_cut = sampler.top_p < 1.0 || (1..count).contains(&sampler.top_k);
    // A token's distribution includes the excluded tokens but not those that top-k or top-p cut off.
    if !is_cut || sampler.temperature == 0.0 {
        (log_prob, entropy) = (whole.log_prob(logits[token as usize] * scale), whole.entropy);
    }
    (token, log_prob, entropy, excluded)
}

/// Returns the tokens that top-k and top-p keep, at least one, in ascending order. Ties go to the lower index.
fn nucleus<T: Real, M: Math>(logits: &[T], scale: T, log_sum_exp: T, sampler: &Sampler) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    // The order must be total whatever the logits hold. Adding 0 makes −0 equal to 0.
    let key = |i: u32| logits[i as usize].f64() + 0.0;
    let descending = |a: &u32, b: &u32| key(*b).total_cmp(&key(*a)).then(a.cmp(b));
    if (1..order.len()).contains(&sampler.top_k) {
        order.select_nth_unstable_by(sampler.top_k - 1, descending);
        order.truncate(sampler.top_k);
    }
    if sampler.top_p < 1.0 {
        order.sort_unstable_by(descending);
        let mut cumulative = 0.0;
        let enough = order.iter().position(|&i| {
            cumulative += M::exp(logits[i as usize] * scale - log_sum_exp).f64();
            cumulative >= sampler.top_p
        });
        order.truncate(enough.map_or(order.len(), |i| i + 1));
    }
    order.sort_unstable();
    order
}
