//! Tests the drawing of tokens: frequencies compared with the softmax, truncation and ties.

use flowrl_core::backend::{Backend, Sampler};

use super::harness::{SINGLE, Tolerance, assert_close, numbers};
use super::wrappers as op;

/// Draws `count` tokens from one row of logits, each with its own random number.
fn draw<B: Backend>(b: &B, logits: &[f64], sampler: Sampler, count: u32) -> (Vec<u32>, [Vec<f64>; 2]) {
    let sequences: Vec<u32> = (0..count).collect();
    op::sample(b, (count as usize, logits.len()), &logits.repeat(count as usize), sampler, &sequences)
}

fn softmax(logits: &[f64], temperature: f64, keep: impl Fn(usize) -> bool) -> Vec<f64> {
    let weight = |(i, z): (usize, &f64)| if keep(i) { (z / temperature).exp() } else { 0.0 };
    let weights: Vec<f64> = logits.iter().enumerate().map(weight).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

/// Checks the frequencies by χ², and the log-probability and entropy returned with every draw.
#[track_caller]
fn assert_drawn_from<B: Backend>(b: &B, logits: &[f64], sampler: Sampler, p: &[f64]) {
    let count = 20_000;
    let (tokens, [log_prob, entropy]) = draw(b, logits, sampler, count);
    let mut observed = vec![0.0; p.len()];
    tokens.iter().for_each(|&t| observed[t as usize] += 1.0);
    let mut chi_squared = 0.0;
    for (i, (&observed, &p)) in observed.iter().zip(p).enumerate() {
        let expected = p * f64::from(count);
        assert!(p > 0.0 || observed == 0.0, "token {i} has probability 0 and was drawn {observed} times");
        chi_squared += if p > 0.0 { (observed - expected).powi(2) / expected } else { 0.0 };
    }
    let freedom = p.iter().filter(|p| **p > 0.0).count() as f64 - 1.0;
    // This bound is the mean plus 4 standard deviations of χ².
    assert!(chi_squared < freedom + 4.0 * (2.0 * freedom).sqrt() + 1e-9, "χ² = {chi_squared} at {freedom} degrees");
    let wanted: Vec<f64> = tokens.iter().map(|&t| p[t as usize].ln()).collect();
    assert_close("log_prob", &log_prob, &wanted, SINGLE);
    let wanted = -p.iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>();
    assert_close("entropy", &entropy, &vec![wanted; count as usize], SINGLE);
}

pub(crate) fn frequencies_follow_the_softmax<B: Backend>(b: &B, _: Tolerance) {
    let logits = numbers(50, 21);
    for temperature in [0.5, 1.0, 2.0] {
        let sampler = Sampler { temperature, ..Sampler::default() };
        assert_drawn_from(b, &logits, sampler, &softmax(&logits, temperature, |_| true));
    }
    // These are more tokens than a block of the search has, and some of them cannot be drawn.
    let mut logits = numbers(51, 600);
    logits.iter_mut().step_by(3).for_each(|z| *z = f64::NEG_INFINITY);
    logits[256..512].fill(f64::NEG_INFINITY);
    logits[599] = 4.0;
    assert_drawn_from(b, &logits, Sampler::default(), &softmax(&logits, 1.0, |_| true));
}

pub(crate) fn truncation_keeps_the_most_probable<B: Backend>(b: &B, _: Tolerance) {
    // The probabilities are 0.1, 0.4, 0.2, 0.05 and 0.25.
    let logits: Vec<f64> = [0.1, 0.4, 0.2, 0.05, 0.25].map(|p: f64| f64::from(p.ln() as f32)).into();
    let check = |sampler: Sampler, kept: &[usize]| {
        let p = softmax(&logits, sampler.temperature, |i| kept.contains(&i));
        assert_drawn_from(b, &logits, sampler, &p);
    };
    let base = Sampler::default();
    check(Sampler { top_k: 1, ..base }, &[1]);
    check(Sampler { top_k: 3, ..base }, &[1, 2, 4]);
    check(Sampler { top_k: 5, ..base }, &[0, 1, 2, 3, 4]);
    check(Sampler { top_k: 50, ..base }, &[0, 1, 2, 3, 4]);
    // The token that reaches the sum is kept.
    check(Sampler { top_p: 1e-9, ..base }, &[1]);
    check(Sampler { top_p: 0.39, ..base }, &[1]);
    check(Sampler { top_p: 0.41, ..base }, &[1, 4]);
    check(Sampler { top_p: 0.84, ..base }, &[1, 2, 4]);
    check(Sampler { top_p: 0.96, ..base }, &[0, 1, 2, 3, 4]);
    check(Sampler { top_p: 0.84, top_k: 2, ..base }, &[1, 4]);
    // At temperature 0.5 the weights are the squared probabilities: 0.16 and 0.0625 of a total of 0.275.
    check(Sampler { top_p: 0.8, temperature: 0.5, ..base }, &[1, 4]);
}

/// Excluded tokens are never drawn, even the most probable one, but they count in the softmax. So the log-probability
/// of a draw has the same bits as its score.
pub(crate) fn excluded_tokens_count_and_are_not_drawn<B: Backend>(b: &B, _: Tolerance) {
    let (count, vocab) = (4000, 70);
    let mut logits = numbers(53, vocab);
    [logits[3], logits[64]] = [4.0, 3.5];
    let excluded: Vec<u32> = (0..vocab as u32).filter(|i| i % 5 == 3 || *i >= 60).collect();
    let (rows, sequences) = (logits.repeat(count), (0..count as u32).collect::<Vec<_>>());
    let base = Sampler::default();
    for sampler in
        [base, Sampler { temperature: 0.7, ..base }, Sampler::GREEDY, Sampler { top_k: 2, top_p: 0.99, ..base }]
    {
        let (tokens, [log_prob, entropy, mass]) =
            op::sample_others(b, (count, vocab), &rows, sampler, Some(&excluded), &sequences);
        let whole = softmax(&logits, 1.0 / sampler.scale(), |_| true);
        let allowed = |i: usize| !excluded.contains(&(i as u32));
        let rest: f64 = (0..vocab).filter(|&i| allowed(i)).map(|i| whole[i]).sum();
        assert_close("excluded", &mass, &vec![1.0 - rest; count], SINGLE);
        let drawn = |i: usize| tokens.iter().filter(|&&t| t as usize == i).count() as f64 / count as f64;
        let mut likely: Vec<usize> = (0..vocab).filter(|&i| allowed(i)).collect();
        likely.sort_by(|&i, &j| whole[j].total_cmp(&whole[i]));
        match sampler {
            Sampler { temperature: 0.0, .. } => assert_eq!(drawn(likely[0]), 1.0),
            Sampler { top_k: 2, .. } => assert_eq!(drawn(likely[0]) + drawn(likely[1]), 1.0),
            _ => {
                for (i, p) in whole.iter().enumerate() {
                    let wanted = if allowed(i) { p / rest } else { 0.0 };
                    assert!(
                        (drawn(i) - wanted).abs() <= 5.0 * (wanted / count as f64).sqrt(),
                        "{i}: {} {wanted}",
                        drawn(i)
                    );
                }
                let [scored, _, scored_entropy] = op::log_prob(b, (count, vocab), &rows, &tokens, sampler.temperature);
                assert_eq!((log_prob, entropy), (scored, scored_entropy), "the bits of a score");
            }
        }
    }
}

pub(crate) fn ties_go_to_the_lower_index<B: Backend>(b: &B, _: Tolerance) {
    let logits = [1.0, 3.0, 0.0, 3.0, -0.0, 3.0];
    assert_eq!(draw(b, &logits, Sampler::GREEDY, 3).0, [1, 1, 1]);
    assert_eq!(draw(b, &[-0.0, 0.0], Sampler::GREEDY, 1).0, [0]);
    let (_, [log_prob, entropy]) = draw(b, &logits, Sampler::GREEDY, 1);
    let p = softmax(&logits, 1.0, |_| true);
    assert_close("greedy log_prob is that of temperature 1", &log_prob, &[p[1].ln()], SINGLE);
    assert_close("entropy", &entropy, &[-p.iter().map(|p| p * p.ln()).sum::<f64>()], SINGLE);
    assert_drawn_from(
        b,
        &logits,
        Sampler { top_k: 2, ..Sampler::default() },
        &softmax(&logits, 1.0, |i| i == 1 || i == 3),
    );
    let zeros = [0.0, -0.0, 0.0, -0.0];
    assert_drawn_from(b, &zeros, Sampler { top_k: 2, ..Sampler::default() }, &softmax(&zeros, 1.0, |i| i < 2));
}

/// If logits are NaN, the log-probability is NaN too, so that the objective can report it. Sampling must not panic.
pub(crate) fn logits_that_are_not_numbers_do_not_panic<B: Backend>(b: &B, _: Tolerance) {
    let mut logits = numbers(52, 100);
    logits.iter_mut().step_by(3).for_each(|z| *z = f64::NAN);
    let base = Sampler::default();
    for sampler in [base, Sampler::GREEDY, Sampler { top_k: 7, ..base }, Sampler { top_p: 0.5, ..base }] {
        let (tokens, [log_prob, _]) = draw(b, &logits, sampler, 4);
        assert!(tokens.iter().all(|t| *t < 100));
        assert!(log_prob.iter().all(|l| l.is_nan()), "{sampler:?}: {log_prob:?}");
    }
}
