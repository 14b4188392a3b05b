//! Tests that neither the number of threads, nor the batch, nor the cache changes a bit.

use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_lm::backend::{Heads, Span, TransformerBackend};

use super::harness::{Tolerance, assert_close, numbers};
use super::layouts::{HEADS, layout, layouts};
use super::wrappers as op;

/// Returns the results of every operation, by name, on enough work for three threads.
fn everything<B: TransformerBackend>(b: &B) -> Vec<(&'static str, Vec<f64>)> {
    let heads = Heads { heads: 6, kv_heads: 2, head_dim: 20 };
    let layout = layout(&[&[9, 17, 1, 30], &[33], &[1, 20, 5], &[2, 2]]);
    let (rows, width) = (layout.rows(), heads.qkv_width());
    let (qkv, d_out) = (numbers(0, rows * width), numbers(1, rows * heads.q_width()));
    let (w, w_k) = (numbers(2, width), numbers(3, heads.head_dim));
    let mut all: Vec<(&'static str, Vec<f64>)> = Vec::new();
    all.extend(op::attention(b, &layout, heads, &qkv).map(|v| ("attention", v)));
    all.push(("attention_backward", op::attention_backward(b, &layout, heads, &qkv, &d_out)));
    let w_q = &w[..heads.head_dim];
    let [normed, inv_rms] = op::qk_norm(b, rows, heads, &qkv, w_q, &w_k, 1e-6);
    let back = op::qk_norm_backward(b, rows, heads, [&qkv, w_q, &w_k, &inv_rms, &normed], 0.5);
    all.extend([normed, inv_rms].map(|v| ("qk_norm", v)));
    all.extend(back.map(|v| ("qk_norm_backward", v)));
    let [y, inv_rms] = op::rms_norm(b, (rows, width), &qkv, &w, 1e-6);
    all.extend(op::rms_norm_backward(b, (rows, width), &y, &qkv, &w, &inv_rms, 0.5).map(|v| ("rms_norm_backward", v)));
    all.extend([y, inv_rms].map(|v| ("rms_norm", v)));
    let positions: Vec<u32> = (0..rows as u32).map(|r| r % 40).collect();
    let (cos, sin) = (numbers(4, 400), numbers(5, 400));
    all.push(("rope", op::rope(b, heads, &qkv, &positions, [&cos, &sin], false)));
    let shape = (rows, width / 2);
    all.push(("swiglu", op::swiglu(b, shape, &qkv)));
    all.push(("swiglu_backward", op::swiglu_backward(b, shape, &qkv, &d_out[..rows * width / 2])));
    all.push(("embed", op::embed(b, &qkv, &positions, width)));
    all.push(("scatter_add", op::scatter_add(b, &qkv, &positions, width, &vec![0.0; 40 * width])));
    let spans = [(3, 50), (0, 7), (90, 1)];
    all.push(("mean_rows", op::mean_rows(b, &qkv, &spans, width)));
    all.push(("mean_rows_backward", op::mean_rows_backward(b, &d_out[..3 * width], &spans, width, &qkv)));
    all
}

#[track_caller]
fn assert_same_bits(what: &str, got: &[f64], want: &[f64]) {
    let differs = got.iter().zip(want).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(got.len() == want.len() && differs.is_none(), "{what} differs at {differs:?}");
}

fn threads_change_no_bit<T: Real>() {
    let want = everything(&CpuBackend::<T>::new(1));
    for threads in [2, 3] {
        for ((name, got), (_, want)) in everything(&CpuBackend::<T>::new(threads)).iter().zip(&want) {
            assert_same_bits(&format!("{name} on {threads} threads"), got, want);
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    threads_change_no_bit::<f32>();
    threads_change_no_bit::<f64>();
}

/// Both are in single precision, and agree to 1e-5 relative to 1 + |value|.
#[test]
fn the_fast_path_is_close_to_the_reference() {
    let (fast, reference) = (everything(&CpuBackend::<f32>::new(2)), everything(&CpuBackend::<f32>::reference()));
    for ((name, got), (_, want)) in fast.iter().zip(&reference) {
        assert_close(name, got, want, Tolerance(1e-5));
    }
}

/// Checks that a group alone, and a completion without its siblings, have the same bits as in a batch.
fn groups_are_independent<B: TransformerBackend>(b: &B) {
    let heads = HEADS[0];
    let (width, q_width) = (heads.qkv_width(), heads.q_width());
    let groups: [&[usize]; 4] = [&[4, 3, 20, 5], &[2], &[1, 2], &[30, 7]];
    let whole = layout(&groups);
    let (qkv, d_out) = (numbers(6, whole.rows() * width), numbers(7, whole.rows() * q_width));
    let [out, lse] = op::attention(b, &whole, heads, &qkv);
    let d_qkv = op::attention_backward(b, &whole, heads, &qkv, &d_out);
    let mut first = 0;
    for group in groups {
        let rows = first..first + group.iter().sum::<usize>();
        let alone = layout(&[group]);
        let part = |x: &[f64], width: usize| x[rows.start * width..rows.end * width].to_vec();
        let [got, got_lse] = op::attention(b, &alone, heads, &part(&qkv, width));
        assert_same_bits("out", &got, &part(&out, q_width));
        assert_same_bits("log_sum_exp", &got_lse, &part(&lse, heads.heads));
        let got = op::attention_backward(b, &alone, heads, &part(&qkv, width), &part(&d_out, q_width));
        assert_same_bits("d_qkv", &got, &part(&d_qkv, width));
        first = rows.end;
    }
    // This is the last completion of the first group, with its prompt only.
    let rows: Vec<usize> = (0..4).chain(27..32).collect();
    let pick =
        |x: &[f64], width: usize| rows.iter().flat_map(|r| &x[r * width..][..width]).copied().collect::<Vec<_>>();
    let [got, _] = op::attention(b, &layout(&[&[4, 5]]), heads, &pick(&qkv, width));
    assert_same_bits("out", &got, &pick(&out, q_width));
}

/// Checks rows that are fed through the cache one by one, at scattered slots.
fn the_cache_changes_nothing<B: TransformerBackend>(b: &B) {
    for heads in HEADS {
        for layout in layouts() {
            let qkv = numbers(8, layout.rows() * heads.qkv_width());
            let [want, _] = op::attention(b, &layout, heads, &qkv);
            // Each span has its own place in the cache, shifted by 3 rows for every span before it.
            let place = |i: usize| layout.spans[i].start + 3 * i;
            let (mut slots, mut spans) = (Vec::new(), Vec::new());
            for (i, span) in layout.spans.iter().enumerate() {
                let prompt = layout.spans.iter().position(|s| s.start == span.prefix_start).expect("a prompt");
                for t in 0..span.len {
                    slots.push((place(i) + t) as u32);
                    let (prefix_start, prefix_len) = (place(prompt), span.prefix_len);
                    spans.push(Span { start: place(i), len: t + 1, prefix_start, prefix_len });
                }
            }
            assert_same_bits("cached", &op::cached_attention(b, heads, &qkv, &slots, &spans), &want);
        }
    }
}

#[test]
fn neither_the_batch_nor_the_cache_changes_a_bit() {
    for threads in [1, 3] {
        groups_are_independent(&CpuBackend::<f32>::new(threads));
        the_cache_changes_nothing(&CpuBackend::<f32>::new(threads));
    }
    groups_are_independent(&CpuBackend::<f32>::reference());
    groups_are_independent(&CpuBackend::<f64>::reference());
    the_cache_changes_nothing(&CpuBackend::<f32>::reference());
    the_cache_changes_nothing(&CpuBackend::<f64>::reference());
}
