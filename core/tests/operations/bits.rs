//! Results have the same bits on any number of threads and for any other content of the batch.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend, LinearShape, Sampler};
use flowrl_core::optim::AdamW;

use super::harness::{Tolerance, assert_close, numbers};
use super::wrappers as op;

/// Runs every operation on enough work for three threads, and returns the results by name.
fn everything<B: Backend>(b: &B) -> Vec<(&'static str, Vec<f64>)> {
    let mut all = Vec::new();
    for (rows, inputs, outputs) in [(37, 300, 65), (5, 130, 259), (1, 515, 257), (33, 64, 700)] {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w, bias) = (numbers(0, rows * inputs), numbers(1, inputs * outputs), numbers(2, outputs));
        let (y, dy) = (numbers(3, rows * outputs), numbers(4, rows * outputs));
        all.push(("linear", op::linear(b, shape, &x, &w, Some(&bias), &y, true)));
        all.push(("linear", op::linear(b, shape, &x, &w, None, &y, false)));
        all.push(("linear_backward_input", op::linear_backward_input(b, shape, &dy, &w, &x, true)));
        all.extend(op::linear_backward_weight(b, shape, &dy, &x, 1.0, true).map(|d| ("linear_backward_weight", d)));
    }
    let shape @ (rows, columns) = (65, 1031);
    let (x, dy) = (numbers(5, rows * columns), numbers(6, rows * columns));
    let (gamma, beta) = (numbers(7, columns), numbers(8, columns));
    all.push(("gelu", op::gelu(b, &x)));
    all.push(("gelu_backward", op::gelu_backward(b, &x, &dy)));
    let norm = op::layer_norm(b, shape, &x, &gamma, &beta, 1e-5);
    let back = op::layer_norm_backward(b, shape, &x, &gamma, [&norm[1], &norm[2]], &dy, 0.0);
    all.extend(norm.map(|v| ("layer_norm", v)));
    all.extend(back.map(|v| ("layer_norm_backward", v)));
    all.push(("dropout", op::dropout(b, shape, &x, 0.3, 1)));
    let targets: Vec<u32> = (0..rows as u32).map(|r| r * 13).collect();
    all.extend(op::log_prob(b, shape, &x, &targets, 0.9).map(|v| ("log_prob", v)));
    all.push(("log_prob_backward", op::log_prob_backward(b, shape, &x, &targets, 0.9, &dy[..rows])));
    let step = AdamW::default().step(0.1, 2, 1.0);
    let square: Vec<f64> = gamma.iter().map(|g| f64::from((g * g) as f32)).cycle().take(x.len()).collect();
    all.extend(op::adamw(b, [&x, &dy, &dy, &square], &step).map(|v| ("adamw", v)));
    all
}

fn draws<B: Backend>(b: &B) -> Vec<(Vec<u32>, [Vec<f64>; 2])> {
    let shape @ (rows, vocab) = (65, 1031);
    let sequences: Vec<u32> = (0..rows as u32).collect();
    samplers().iter().map(|s| op::sample(b, shape, &numbers(5, rows * vocab), *s, &sequences)).collect()
}

fn samplers() -> [Sampler; 4] {
    let exact = Sampler { temperature: 0.7, ..Sampler::default() };
    [exact, Sampler::GREEDY, Sampler { top_k: 20, ..exact }, Sampler { top_p: 0.8, ..exact }]
}

#[track_caller]
fn assert_same_bits(what: &str, got: &[f64], wanted: &[f64]) {
    let differs = got.iter().zip(wanted).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(got.len() == wanted.len() && differs.is_none(), "{what} differs at {differs:?}");
}

fn threads_change_no_bit<T: Real>() {
    let one = CpuBackend::<T>::new(1);
    let (values, drawn) = (everything(&one), draws(&one));
    for threads in [2, 3] {
        let many = CpuBackend::<T>::new(threads);
        for ((name, got), (_, wanted)) in everything(&many).iter().zip(&values) {
            assert_same_bits(&format!("{name} on {threads} threads"), got, wanted);
        }
        assert_eq!(draws(&many), drawn, "{threads} threads");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    threads_change_no_bit::<f32>();
    threads_change_no_bit::<f64>();
}

/// Compares the fast path with the reference, both in single precision. The tolerance is 2e-5 relative to 1 + |value|,
/// for sums of up to a thousand terms.
#[test]
fn the_fast_path_is_close_to_the_reference() {
    let (fast, reference) = (everything(&CpuBackend::<f32>::new(2)), everything(&CpuBackend::<f32>::reference()));
    for ((name, got), (_, wanted)) in fast.iter().zip(&reference) {
        assert_close(name, got, wanted, Tolerance(2e-5));
    }
    let vocab = 1031;
    let sequences = [0; 65];
    let sampler = samplers()[0];
    let logits = numbers(5, 65 * vocab);
    let (tokens, [log_prob, entropy]) =
        op::sample(&CpuBackend::<f32>::new(1), (65, vocab), &logits, sampler, &sequences);
    let wanted = op::sample(&CpuBackend::<f32>::reference(), (65, vocab), &logits, sampler, &sequences);
    assert_eq!(tokens, wanted.0);
    assert_close("log_prob", &log_prob, &wanted.1[0], Tolerance(2e-6));
    assert_close("entropy", &entropy, &wanted.1[1], Tolerance(2e-6));
}

/// Row r has the same bits alone, as the last of r + 1 rows, and among all rows.
fn rows_are_independent<B: Backend>(b: &B) {
    let rows = 40;
    for (inputs, outputs) in [(300, 7), (519, 33), (16, 16)] {
        let shape = |rows| LinearShape { rows, inputs, outputs };
        let (x, w, bias) = (numbers(30, rows * inputs), numbers(31, inputs * outputs), numbers(32, outputs));
        let (y, dy) = (vec![0.5; rows * outputs], numbers(33, rows * outputs));
        let linear = |x: &[f64], n: usize| op::linear(b, shape(n), x, &w, Some(&bias), &y[..n * outputs], true);
        let input =
            |dy: &[f64], n: usize| op::linear_backward_input(b, shape(n), dy, &w, &vec![0.0; n * inputs], false);
        let (all, all_input) = (linear(&x, rows), input(&dy, rows));
        for r in 0..rows {
            for first in [0, r] {
                let n = r + 1 - first;
                let got = linear(&x[first * inputs..(r + 1) * inputs], n);
                assert_same_bits("linear", &got, &all[first * outputs..(r + 1) * outputs]);
                let got = input(&dy[first * outputs..(r + 1) * outputs], n);
                assert_same_bits("linear_backward_input", &got, &all_input[first * inputs..(r + 1) * inputs]);
            }
        }
    }
    let vocab = 519;
    let logits = numbers(34, rows * vocab);
    let (targets, sequences): (Vec<u32>, Vec<u32>) = (0..rows as u32).map(|r| (r * 11, r + 3)).unzip();
    let upstream = numbers(35, rows);
    let (gamma, beta) = (numbers(36, vocab), numbers(37, vocab));
    let run = |rows: std::ops::Range<usize>| {
        let shape = (rows.len(), vocab);
        let (z, t) = (&logits[rows.start * vocab..rows.end * vocab], &targets[rows.clone()]);
        let mut out: Vec<Vec<f64>> = op::log_prob(b, shape, z, t, 0.9).into();
        out.push(op::log_prob_backward(b, shape, z, t, 0.9, &upstream[rows.clone()]));
        let d = (&upstream[rows.clone()], Some(&upstream[rows.clone()]));
        out.push(op::log_prob_entropy_backward(b, shape, z, t, 0.9, d.0, d.1));
        out.extend(op::layer_norm(b, shape, z, &gamma, &beta, 1e-5));
        out.push(op::gelu(b, z));
        for sampler in samplers() {
            let (tokens, numbers) = op::sample(b, shape, z, sampler, &sequences[rows.clone()]);
            out.push(tokens.into_iter().map(f64::from).collect());
            out.extend(numbers);
        }
        out
    };
    let all = run(0..rows);
    for r in 0..rows {
        for (i, (got, wanted)) in run(r..r + 1).iter().zip(&all).enumerate() {
            let width = wanted.len() / rows;
            assert_same_bits(&format!("output {i} of row {r}"), got, &wanted[r * width..(r + 1) * width]);
        }
    }
}

#[test]
fn a_row_has_the_same_bits_in_any_batch() {
    rows_are_independent(&CpuBackend::<f32>::reference());
    rows_are_independent(&CpuBackend::<f64>::reference());
    for threads in [1, 3] {
        rows_are_independent(&CpuBackend::<f32>::new(threads));
        rows_are_independent(&CpuBackend::<f64>::new(threads));
    }
}

/// Returns whether this processor is known to have the features that prepared weights need.
fn packs() -> bool {
    #[cfg(target_arch = "x86_64")]
    let known = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    let known = false;
    known
}

fn prepared_weights_change_no_bit<T: Real>() {
    for b in [CpuBackend::<T>::reference(), CpuBackend::new(1), CpuBackend::new(2)] {
        for (rows, inputs, outputs) in [(1, 3, 1), (15, 300, 20), (37, 256, 64), (64, 515, 33), (130, 64, 259)] {
            let shape = LinearShape { rows, inputs, outputs };
            let (x, w) = (numbers(0, rows * inputs), numbers(1, inputs * outputs));
            let (bias, y) = (numbers(2, outputs), numbers(3, rows * outputs));
            for (bias, accumulate) in [(None, false), (None, true), (Some(&bias[..]), false), (Some(&bias[..]), true)] {
                let plain = op::linear(&b, shape, &x, &w, bias, &y, accumulate);
                let prepared = op::linear_prepared(&b, shape, &x, &w, bias, &y, accumulate);
                assert!(prepared.is_some() || !(b.is_fast() && packs()), "{shape:?} in {} is not prepared", T::NAME);
                if let Some(prepared) = prepared {
                    assert_same_bits("linear_prepared", &prepared, &plain);
                }
            }
        }
    }
}

#[test]
fn prepared_weights_change_no_bit_in_either_precision() {
    prepared_weights_change_no_bit::<f32>();
    prepared_weights_change_no_bit::<f64>();
}
