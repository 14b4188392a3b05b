//! Compares values with the double-precision reference, and gradients with finite differences of it. Every test body
//! takes any backend.

use flowrl_core::backend::{Backend, LinearShape};
use flowrl_core::optim::AdamW;

use super::harness::{Tolerance, assert_close, assert_gradient, dot, numbers, reference};
use super::wrappers as op;

/// Shapes close to the widths of vector registers and blocks.
const SHAPES: [(usize, usize, usize); 8] =
    [(0, 3, 4), (1, 1, 1), (3, 5, 4), (15, 16, 17), (17, 33, 15), (33, 15, 1), (2, 300, 16), (16, 17, 33)];

pub(crate) fn linear<B: Backend>(b: &B, tolerance: Tolerance) {
    for (rows, inputs, outputs) in SHAPES {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, w) = (numbers(0, rows * inputs), numbers(1, outputs * inputs));
        let (bias, start, dy) = (numbers(2, outputs), numbers(3, rows * outputs), numbers(4, rows * outputs));
        for accumulate in [false, true] {
            for bias in [None, Some(&bias[..])] {
                let y = |x: &[f64], w: &[f64], bias: Option<&[f64]>| {
                    op::linear(&reference(), shape, x, w, bias, &start, accumulate)
                };
                let got = op::linear(b, shape, &x, &w, bias, &start, accumulate);
                assert_close("y", &got, &y(&x, &w, bias), tolerance);

                let from = numbers(5, rows * inputs);
                let mut dx = op::linear_backward_input(b, shape, &dy, &w, &from, accumulate);
                if accumulate {
                    dx.iter_mut().zip(&from).for_each(|(dx, from)| *dx -= from);
                }
                assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &y(x, &w, bias)));
                let [dw, db] = op::linear_backward_weight(b, shape, &dy, &x, 2.0, bias.is_some());
                let [dw, db] = [dw, db].map(|d| d.into_iter().map(|d| d - 2.0).collect::<Vec<_>>());
                assert_gradient("dw", &dw, &w, tolerance, |w| dot(&dy, &y(&x, w, bias)));
                if let Some(bias) = bias {
                    assert_gradient("db", &db, bias, tolerance, |bias| dot(&dy, &y(&x, &w, Some(bias))));
                }
            }
        }
    }
}

pub(crate) fn gelu<B: Backend>(b: &B, tolerance: Tolerance) {
    for len in [0, 1, 15, 16, 17, 33] {
        let (mut x, dy) = (numbers(6, len), numbers(7, len));
        x.iter_mut().for_each(|x| *x *= 2.0);
        assert_close("y", &op::gelu(b, &x), &op::gelu(&reference(), &x), tolerance);
        assert_gradient("dx", &op::gelu_backward(b, &x, &dy), &x, tolerance, |x| dot(&dy, &op::gelu(&reference(), x)));
    }
}

pub(crate) fn layer_norm<B: Backend>(b: &B, tolerance: Tolerance) {
    for shape @ (rows, columns) in [(0, 4), (1, 2), (3, 15), (2, 16), (5, 17), (4, 33)] {
        let (x, gamma, beta) = (numbers(8, rows * columns), numbers(9, columns), numbers(10, columns));
        let dy = numbers(11, rows * columns);
        let y = |x: &[f64], gamma: &[f64], beta: &[f64]| op::layer_norm(&reference(), shape, x, gamma, beta, 1e-2);
        let got = op::layer_norm(b, shape, &x, &gamma, &beta, 1e-2);
        for ((what, got), wanted) in ["y", "mean", "inv_std"].iter().zip(&got).zip(y(&x, &gamma, &beta)) {
            assert_close(what, got, &wanted, tolerance);
        }
        let [_, mean, inv_std] = &got;
        let [dx, d_gamma, d_beta] = op::layer_norm_backward(b, shape, &x, &gamma, [mean, inv_std], &dy, 2.0);
        let [d_gamma, d_beta] = [d_gamma, d_beta].map(|d| d.into_iter().map(|d| d - 2.0).collect::<Vec<_>>());
        assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &y(x, &gamma, &beta)[0]));
        assert_gradient("d_gamma", &d_gamma, &gamma, tolerance, |gamma| dot(&dy, &y(&x, gamma, &beta)[0]));
        assert_gradient("d_beta", &d_beta, &beta, tolerance, |beta| dot(&dy, &y(&x, &gamma, beta)[0]));
    }
}

/// The mean is a hundred times the spread. Its square must not drown the gradient.
pub(crate) fn layer_norm_far_from_zero<B: Backend>(b: &B, Tolerance(tolerance): Tolerance) {
    let shape @ (rows, columns) = (3, 40);
    let x: Vec<f64> = numbers(12, rows * columns).iter().map(|x| f64::from((100.0 + x) as f32)).collect();
    let (gamma, beta, dy) = (numbers(13, columns), numbers(14, columns), numbers(15, rows * columns));
    let y = |x: &[f64]| op::layer_norm(&reference(), shape, x, &gamma, &beta, 1e-5);
    let [_, mean, inv_std] = y(&x);
    let [dx, ..] = op::layer_norm_backward(b, shape, &x, &gamma, [&mean, &inv_std], &dy, 0.0);
    assert_gradient("dx", &dx, &x, Tolerance(tolerance * 10.0), |x| dot(&dy, &y(x)[0]));
}

pub(crate) fn dropout<B: Backend>(b: &B, tolerance: Tolerance) {
    let shape @ (rows, columns) = (17, 33);
    let (x, dy) = (numbers(16, rows * columns), numbers(17, rows * columns));
    for rate in [0.0, 0.1, 0.5] {
        let y = op::dropout(b, shape, &x, rate, 3);
        assert_close("y", &y, &op::dropout(&reference(), shape, &x, rate, 3), tolerance);
        let dx = op::dropout(b, shape, &dy, rate, 3);
        assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &op::dropout(&reference(), shape, x, rate, 3)));
        let dropped = y.iter().filter(|y| **y == 0.0).count() as f64 / y.len() as f64;
        assert!((dropped - rate).abs() < 0.06, "{dropped} were dropped at rate {rate}");
        assert!(rate == 0.0 || y != op::dropout(b, shape, &x, rate, 4), "each step has its mask");
    }
    assert!(op::dropout(b, (0, 5), &[], 0.5, 0).is_empty());
}

pub(crate) fn log_prob<B: Backend>(b: &B, tolerance: Tolerance) {
    for shape @ (rows, vocab) in [(0, 5), (1, 1), (3, 2), (4, 15), (2, 16), (3, 17), (5, 33), (2, 257)] {
        let logits = numbers(18, rows * vocab);
        let targets: Vec<u32> = (0..rows).map(|r| (r * 7 % vocab) as u32).collect();
        let mut upstream = numbers(19, rows);
        upstream.iter_mut().step_by(3).for_each(|u| *u = 0.0);
        let of_entropy = numbers(25, rows);
        for temperature in [0.5, 1.0, 1.7] {
            let forward = |logits: &[f64]| op::log_prob(&reference(), shape, logits, &targets, temperature);
            let got = op::log_prob(b, shape, &logits, &targets, temperature);
            for ((what, got), wanted) in ["log_prob", "log_sum_exp", "entropy"].iter().zip(&got).zip(forward(&logits)) {
                assert_close(what, got, &wanted, tolerance);
            }
            let gradient = op::log_prob_backward(b, shape, &logits, &targets, temperature, &upstream);
            assert_gradient("dz", &gradient, &logits, tolerance, |z| dot(&upstream, &forward(z)[0]));
            for (row, u) in gradient.chunks(vocab).zip(&upstream) {
                assert!(*u != 0.0 || row.iter().all(|g| *g == 0.0), "no upstream gradient, no gradient");
            }
            let d = (&upstream, Some(&of_entropy[..]));
            let gradient = op::log_prob_entropy_backward(b, shape, &logits, &targets, temperature, d.0, d.1);
            assert_gradient("dz of entropies too", &gradient, &logits, tolerance, |z| {
                let [log_prob, _, entropy] = forward(z);
                dot(&upstream, &log_prob) + dot(&of_entropy, &entropy)
            });
        }
    }
}

/// If a target has probability 1 − q, its gradient is accurate to 1 % of q for q down to 1e-6, for logits of any
/// magnitude.
pub(crate) fn log_prob_of_confident_targets<B: Backend>(b: &B, _: Tolerance) {
    for vocab in [2, 17, 40] {
        for shift in [0.0, 30.0, -500.0] {
            for gap in [1.0, 6.0, 10.0, 14.0, 17.0] {
                for temperature in [0.7, 1.0] {
                    let mut logits: Vec<f64> = vec![shift; vocab];
                    logits[1] += gap;
                    let scaled = f64::from((gap / temperature) as f32);
                    let q = (vocab - 1) as f64 / ((vocab - 1) as f64 + scaled.exp());
                    let gradient = op::log_prob_backward(b, (1, vocab), &logits, &[1], temperature, &[2.0]);
                    let wanted = 2.0 * q / temperature;
                    let error = (gradient[1] / wanted - 1.0).abs();
                    assert!(error < 0.01, "q {q:e} around {shift}: {} is off by {error}", gradient[1]);
                    let sum: f64 = gradient.iter().sum();
                    assert!(sum.abs() < 0.01 * wanted, "the gradient sums to {sum}, not 0");
                    let gradient =
                        op::log_prob_entropy_backward(b, (1, vocab), &logits, &[1], temperature, &[0.0], Some(&[2.0]));
                    // ∂H/∂z of the target is minus the sum of the others: q·(log(q/n) + H).
                    let log_each = (q / (vocab - 1) as f64).ln();
                    let entropy = -(1.0 - q) * (-q).ln_1p() - q * log_each;
                    let wanted = 2.0 * q * (log_each + entropy) / temperature;
                    let error = (gradient[1] / wanted - 1.0).abs();
                    assert!(error < 0.01, "q {q:e} around {shift}: {} of entropy is off by {error}", gradient[1]);
                }
            }
        }
    }
}

/// Tests logits of ±10⁴, and tokens that cannot be drawn.
pub(crate) fn log_prob_of_extreme_logits<B: Backend>(b: &B, _: Tolerance) {
    let minus = f64::NEG_INFINITY;
    let logits = [1e4, -1e4, 0.0, 1e4, 0.0, minus, 2.0, minus];
    let [log_prob, lse, entropy] = op::log_prob(b, (2, 4), &logits, &[1, 0], 1.0);
    let second = -(1.0 + 2.0_f64.exp()).ln();
    let ln2 = std::f64::consts::LN_2;
    assert_close("log_prob", &log_prob, &[-2e4 - ln2, second], Tolerance(1e-6));
    assert_close("log_sum_exp", &lse, &[1e4 + ln2, -second], Tolerance(1e-6));
    let p = second.exp();
    assert_close("entropy", &entropy, &[ln2, -p * p.ln() - (1.0 - p) * (1.0 - p).ln()], Tolerance(1e-6));
    let gradient = op::log_prob_backward(b, (2, 4), &logits, &[1, 0], 1.0, &[1.0, 1.0]);
    let wanted = [-0.5, 1.0, 0.0, -0.5, 1.0 - p, 0.0, p - 1.0, 0.0];
    assert_close("dz", &gradient, &wanted, Tolerance(1e-3));
    let (zeros, ones) = ([0.0; 2], [1.0; 2]);
    let gradient = op::log_prob_entropy_backward(b, (2, 4), &logits, &[1, 0], 1.0, &zeros, Some(&ones));
    let rising = p * (1.0 - p) * ((1.0 - p).ln() - p.ln());
    let wanted = [0.0, 0.0, 0.0, 0.0, rising, 0.0, -rising, 0.0];
    assert_close("dz of entropies", &gradient, &wanted, Tolerance(1e-3));
    // For the more probable of two large logits, their difference matters and not the precision of 10⁴.
    let [log_prob, ..] = op::log_prob(b, (1, 2), &[1e4, 1e4 - 5.0], &[0], 1.0);
    assert_close("log_prob", &log_prob, &[-(-5.0_f64).exp().ln_1p()], Tolerance(1e-6));
}

pub(crate) fn adamw<B: Backend>(b: &B, tolerance: Tolerance) {
    for len in [0, 1, 15, 17, 33] {
        let [p, g, m] = [20, 21, 22].map(|seed| numbers(seed, len));
        let v: Vec<f64> = numbers(23, len).iter().map(|x| x * x).map(|v| f64::from(v as f32)).collect();
        let options = AdamW { weight_decay: 0.1, ..AdamW::default() };
        for time in [1, 10] {
            let step = options.step(0.01, time, 0.5);
            let got = op::adamw(b, [&p, &g, &m, &v], &step);
            for i in 0..len {
                let g = g[i] * 0.5;
                let (m, v) = (0.9 * m[i] + 0.1 * g, 0.999 * v[i] + 0.001 * g * g);
                let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(time as i32)), v / (1.0 - 0.999_f64.powi(time as i32)));
                let p = p[i] * (1.0 - 0.01 * 0.1) - 0.01 * m_hat / (v_hat.sqrt() + 1e-8);
                assert_close("p, m, v", &[got[0][i], got[1][i], got[2][i]], &[p, m, v], tolerance);
            }
        }
    }
}
