//! Tests of values against the double-precision reference and plain formulas, and of gradients against finite
//! differences. Every test body takes any backend.

use flowrl_lm::backend::{Heads, TransformerBackend};
use flowrl_lm::kernel::rotary_table;

use super::harness::{Tolerance, assert_close, assert_gradient, dot, numbers, reference};
use super::layouts::{HEADS, attended, layouts};
use super::wrappers as op;

fn minus(x: Vec<f64>, start: f64) -> Vec<f64> {
    x.into_iter().map(|x| x - start).collect()
}

pub(crate) fn embed_and_scatter_add<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for (ids, d) in [(&[][..], 3), (&[4][..], 1), (&[2, 0, 2, 4, 2, 1][..], 17), (&[3, 3][..], 16)] {
        let (x, dy) = (numbers(0, 5 * d), numbers(1, ids.len() * d));
        let want: Vec<f64> = ids.iter().flat_map(|&id| &x[id as usize * d..][..d]).copied().collect();
        assert_close("embed", &op::embed(b, &x, ids, d), &want, Tolerance(0.0));
        assert_close("gather", &op::gather(b, &x, ids, d), &want, Tolerance(0.0));
        let start = numbers(2, 5 * d);
        let mut dx = op::scatter_add(b, &dy, ids, d, &start);
        dx.iter_mut().zip(&start).for_each(|(dx, s)| *dx -= s);
        assert_gradient("d_table", &dx, &x, tolerance, |x| dot(&dy, &op::embed(&reference(), x, ids, d)));
    }
}

pub(crate) fn rms_norm<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for shape @ (rows, d) in [(0, 4), (1, 1), (3, 15), (2, 16), (5, 17), (4, 33)] {
        let (x, w, dy) = (numbers(3, rows * d), numbers(4, d), numbers(5, rows * d));
        let y = |x: &[f64], w: &[f64]| op::rms_norm(&reference(), shape, x, w, 1e-2);
        let [got, inv_rms] = op::rms_norm(b, shape, &x, &w, 1e-2);
        for (row, inv_rms) in x.chunks(d).zip(&inv_rms) {
            let mean_square = dot(row, row) / d as f64;
            assert_close("inv_rms", &[*inv_rms], &[(mean_square + 1e-2).sqrt().recip()], tolerance);
        }
        assert_close("y", &got, &y(&x, &w)[0], tolerance);
        let [dx, dw] = op::rms_norm_backward(b, shape, &dy, &x, &w, &inv_rms, 2.0).map(|d| minus(d, 2.0));
        assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &y(x, &w)[0]));
        assert_gradient("dw", &dw, &w, tolerance, |w| dot(&dy, &y(&x, w)[0]));
    }
}

pub(crate) fn qk_norm<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for heads in HEADS {
        for rows in [0, 1, 5] {
            let (d, width) = (heads.head_dim, heads.qkv_width());
            let (x, w_q, w_k, dy) = (numbers(6, rows * width), numbers(7, d), numbers(8, d), numbers(9, rows * width));
            let y = |x: &[f64], w_q: &[f64], w_k: &[f64]| op::qk_norm(&reference(), rows, heads, x, w_q, w_k, 1e-2);
            let [got, inv_rms] = op::qk_norm(b, rows, heads, &x, &w_q, &w_k, 1e-2);
            assert_close("out", &got, &y(&x, &w_q, &w_k)[0], tolerance);
            assert_close("inv_rms", &inv_rms, &y(&x, &w_q, &w_k)[1], tolerance);
            let values = heads.q_width() + heads.kv_width();
            for (got, x) in got.chunks(width).zip(x.chunks(width)) {
                assert_eq!(got[values..], x[values..], "values are copied");
            }
            let [dx, dw_q, dw_k] = op::qk_norm_backward(b, rows, heads, [&x, &w_q, &w_k, &inv_rms, &dy], 2.0);
            assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &y(x, &w_q, &w_k)[0]));
            assert_gradient("dw_q", &minus(dw_q, 2.0), &w_q, tolerance, |w| dot(&dy, &y(&x, w, &w_k)[0]));
            assert_gradient("dw_k", &minus(dw_k, 2.0), &w_k, tolerance, |w| dot(&dy, &y(&x, &w_q, w)[0]));
        }
    }
}

pub(crate) fn rope<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for heads @ Heads { head_dim: d, .. } in HEADS {
        let frequencies: Vec<f64> = (0..d / 2).map(|i| 0.9_f64.powi(i as i32)).collect();
        let (cos, sin) = rotary_table::<f32>(12, &frequencies);
        let [cos, sin] = [cos, sin].map(|t| t.into_iter().map(f64::from).collect::<Vec<_>>());
        for positions in [&[][..], &[0], &[3, 11, 0, 3]] {
            let width = heads.qkv_width();
            let (x, dy) = (numbers(10, positions.len() * width), numbers(11, positions.len() * width));
            let got = op::rope(b, heads, &x, positions, [&cos, &sin], false);
            // The pair (i, i + d/2) of every query and key is rotated by position·frequency, and values stay.
            let mut want = x.clone();
            for (row, &p) in want.chunks_mut(width).zip(positions) {
                for head in row[..heads.q_width() + heads.kv_width()].chunks_mut(d) {
                    for i in 0..d / 2 {
                        let (a, b) = (head[i], head[i + d / 2]);
                        let (s, c) = (f64::from(p) * frequencies[i]).sin_cos();
                        (head[i], head[i + d / 2]) = (a * c - b * s, a * s + b * c);
                    }
                }
            }
            // The table is in single precision.
            assert_close("rotated", &got, &want, Tolerance(tolerance.0.max(2e-6)));
            let back = op::rope(b, heads, &got, positions, [&cos, &sin], true);
            assert_close("there and back", &back, &x, Tolerance(tolerance.0.max(2e-6)));
            let dx = op::rope(b, heads, &dy, positions, [&cos, &sin], true);
            let y = |x: &[f64]| op::rope(&reference(), heads, x, positions, [&cos, &sin], false);
            assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &y(x)));
        }
    }
}

pub(crate) fn attention<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for heads @ Heads { head_dim: d, .. } in HEADS {
        for layout in layouts() {
            let (rows, width) = (layout.rows(), heads.qkv_width());
            let (qkv, d_out) = (numbers(12, rows * width), numbers(13, rows * heads.q_width()));
            let [out, lse] = op::attention(b, &layout, heads, &qkv);
            for (row, attended) in attended(&layout).into_iter().enumerate() {
                for h in 0..heads.heads {
                    let kv = h * heads.kv_heads / heads.heads;
                    let key = |j: usize| &qkv[j * width + heads.q_width() + kv * d..][..d];
                    let value = |j: usize| &qkv[j * width + heads.q_width() + heads.kv_width() + kv * d..][..d];
                    let q = &qkv[row * width + h * d..][..d];
                    let weights: Vec<f64> =
                        attended.iter().map(|&j| (dot(q, key(j)) / (d as f64).sqrt()).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    let average = |i: usize| weights.iter().zip(&attended).map(|(w, &j)| w * value(j)[i]).sum::<f64>();
                    let want: Vec<f64> = (0..d).map(|i| average(i) / total).collect();
                    let at = row * heads.heads + h;
                    assert_close("out", &out[at * d..][..d], &want, tolerance);
                    assert_close("log_sum_exp", &lse[at..=at], &[total.ln()], tolerance);
                }
            }
            let d_qkv = op::attention_backward(b, &layout, heads, &qkv, &d_out);
            let y = |qkv: &[f64]| op::attention(&reference(), &layout, heads, qkv);
            assert_gradient("d_qkv", &d_qkv, &qkv, tolerance, |qkv| dot(&d_out, &y(qkv)[0]));
        }
    }
}

/// Uses scores of hundreds, which overflow unless the largest is subtracted before the exponential.
pub(crate) fn attention_with_large_scores<B: TransformerBackend>(b: &B, Tolerance(tolerance): Tolerance) {
    let (heads, layout) = (HEADS[0], &layouts()[2]);
    let mut qkv = numbers(14, layout.rows() * heads.qkv_width());
    qkv.iter_mut().for_each(|x| *x *= 30.0);
    let got = op::attention(b, layout, heads, &qkv);
    let want = op::attention(&reference(), layout, heads, &qkv);
    assert_close("out", &got[0], &want[0], Tolerance(tolerance * 100.0));
    let d_out = numbers(15, got[0].len());
    let got = op::attention_backward(b, layout, heads, &qkv, &d_out);
    assert!(got.iter().all(|d| d.is_finite()));
}

pub(crate) fn swiglu<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for shape @ (rows, ff) in [(0, 4), (1, 1), (3, 15), (2, 16), (5, 17), (4, 33)] {
        let (x, dy) = (numbers(16, rows * 2 * ff), numbers(17, rows * ff));
        let got = op::swiglu(b, shape, &x);
        for (got, x) in got.chunks(ff).zip(x.chunks(2 * ff)) {
            let want: Vec<f64> = (0..ff).map(|i| x[i] / (1.0 + (-x[i]).exp()) * x[ff + i]).collect();
            assert_close("out", got, &want, tolerance);
        }
        let dx = op::swiglu_backward(b, shape, &x, &dy);
        assert_gradient("d_gate_up", &dx, &x, tolerance, |x| dot(&dy, &op::swiglu(&reference(), shape, x)));
    }
    // These gates are so large that the exponential overflows.
    let x = [-200.0, 200.0, 3.0, 3.0];
    assert_close("out", &op::swiglu(b, (1, 2), &x), &[0.0, 600.0], tolerance);
    assert_close("d_gate_up", &op::swiglu_backward(b, (1, 2), &x, &[1.0, 1.0]), &[0.0, 3.0, 0.0, 200.0], tolerance);
}

pub(crate) fn mean_rows<B: TransformerBackend>(b: &B, tolerance: Tolerance) {
    for (spans, d) in [(&[][..], 3), (&[(0, 1)][..], 1), (&[(2, 5), (0, 2), (3, 1)][..], 17), (&[(0, 7)][..], 16)] {
        let (x, dy) = (numbers(18, 7 * d), numbers(19, spans.len() * d));
        let mean = |&(start, len): &(usize, usize)| {
            let x = &x;
            (0..d).map(move |c| (start..start + len).map(|r| x[r * d + c]).sum::<f64>() / len as f64)
        };
        let want: Vec<f64> = spans.iter().flat_map(mean).collect();
        assert_close("mean", &op::mean_rows(b, &x, spans, d), &want, tolerance);
        let start = numbers(20, 7 * d);
        let mut dx = op::mean_rows_backward(b, &dy, spans, d, &start);
        dx.iter_mut().zip(&start).for_each(|(dx, s)| *dx -= s);
        assert_gradient("dx", &dx, &x, tolerance, |x| dot(&dy, &op::mean_rows(&reference(), x, spans, d)));
    }
}
