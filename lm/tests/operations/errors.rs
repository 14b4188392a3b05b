//! Tests that errors name the argument: a buffer that is too short, an index out of range, an inconsistent layout.

use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

use super::layouts::layout;

const CPUS: fn() -> [CpuBackend<f32>; 2] = || [CpuBackend::reference(), CpuBackend::new(2)];
const HEADS: Heads = Heads { heads: 2, kv_heads: 1, head_dim: 4 };

/// Calls `run` with arguments that are long enough, and once for each argument with that argument one element
/// too short.
fn check<const N: usize>(arguments: [(&'static str, usize); N], run: impl Fn([usize; N]) -> Result<(), CpuError>) {
    let lengths = arguments.map(|(_, len)| len);
    run(lengths).expect("enough of everything");
    for (i, (argument, wanted)) in arguments.into_iter().enumerate() {
        let mut short = lengths;
        short[i] -= 1;
        assert_eq!(run(short), Err(CpuError::Shape { argument, got: wanted - 1, wanted }));
    }
}

#[test]
fn every_length_that_is_too_short_is_named() {
    let v = |n: usize| vec![1.0_f32; n];
    let width = HEADS.qkv_width();
    for b in CPUS() {
        check([("ids", 2), ("out", 6)], |[ids, out]| b.embed(&v(9), &vec![1; ids], (2, 3), &mut v(out)));
        check([("ids", 2), ("d_out", 6)], |[ids, d_out]| b.scatter_add(&v(d_out), &vec![1; ids], (2, 3), &mut v(9)));
        check([("x", 6), ("w", 3), ("y", 6), ("inv_rms", 2)], |[x, w, y, inv_rms]| {
            b.rms_norm(&v(x), &v(w), 1e-6, (2, 3), &mut v(y), &mut v(inv_rms))
        });
        let names = [("dy", 6), ("x", 6), ("w", 3), ("inv_rms", 2), ("dx", 6), ("dw", 3)];
        check(names, |[dy, x, w, inv_rms, dx, dw]| {
            b.rms_norm_backward(&v(dy), &v(x), &v(w), &v(inv_rms), (2, 3), &mut v(dx), &mut v(dw))
        });
        let names = [("qkv", 2 * width), ("w_q", 4), ("w_k", 4), ("out", 2 * width), ("inv_rms", 6)];
        check(names, |[qkv, w_q, w_k, out, inv_rms]| {
            b.qk_norm(&v(qkv), &v(w_q), &v(w_k), 1e-6, 2, HEADS, &mut v(out), &mut v(inv_rms))
        });
        let names = [
            ("qkv", 2 * width),
            ("w_q", 4),
            ("w_k", 4),
            ("inv_rms", 6),
            ("d_qkv", 2 * width),
            ("dw_q", 4),
            ("dw_k", 4),
        ];
        check(names, |[qkv, w_q, w_k, inv_rms, d_qkv, dw_q, dw_k]| {
            let (qkv, w_q, w_k, inv_rms) = (v(qkv), v(w_q), v(w_k), v(inv_rms));
            b.qk_norm_backward(&qkv, &w_q, &w_k, &inv_rms, 2, HEADS, &mut v(d_qkv), &mut v(dw_q), &mut v(dw_k))
        });
        check([("qkv", 2 * width), ("positions", 2), ("sin", 6)], |[qkv, positions, sin]| {
            b.rope(&mut v(qkv), &vec![1; positions], &v(6), &v(sin), 2, HEADS, false)
        });
        let spans = layout(&[&[2, 1]]);
        check([("qkv", 3 * width), ("out", 24), ("log_sum_exp", 6)], |[qkv, out, lse]| {
            b.attention(&v(qkv), &spans, HEADS, &mut v(out), &mut v(lse))
        });
        let names = [("qkv", 3 * width), ("out", 24), ("log_sum_exp", 6), ("d_out", 24), ("d_qkv", 3 * width)];
        check(names, |[qkv, out, lse, d_out, d_qkv]| {
            b.attention_backward(&v(qkv), &v(out), &v(lse), &v(d_out), &spans, HEADS, &mut v(d_qkv))
        });
        check([("qkv", 2 * width), ("cache", 5 * 8)], |[qkv, cache]| {
            b.cache_store(&v(qkv), &[1, 4], HEADS, &mut v(cache))
        });
        let span = Span { start: 3, len: 2, prefix_start: 0, prefix_len: 1 };
        check([("qkv", width), ("cache", 5 * 8), ("out", 8)], |[qkv, cache, out]| {
            b.cached_attention(&v(qkv), &v(cache), &[span], HEADS, &mut v(out))
        });
        check([("gate_up", 12), ("out", 6)], |[gate_up, out]| b.swiglu(&v(gate_up), (2, 3), &mut v(out)));
        check([("gate_up", 12), ("d_out", 6), ("d_gate_up", 12)], |[gate_up, d_out, d_gate_up]| {
            b.swiglu_backward(&v(gate_up), &v(d_out), (2, 3), &mut v(d_gate_up))
        });
        let rows = [(0, 1), (1, 2)];
        check([("x", 9), ("out", 6)], |[x, out]| b.mean_rows(&v(x), &rows, 3, &mut v(out)));
        check([("d_out", 6), ("dx", 9)], |[d_out, dx]| b.mean_rows_backward(&v(d_out), &rows, 3, &mut v(dx)));
    }
}

#[test]
fn indices_out_of_range_are_named() {
    for b in CPUS() {
        let below = |argument| Err(CpuError::Index { argument, got: 3, below: 3 });
        let v = |n: usize| vec![1.0; n];
        assert_eq!(b.embed(&v(9), &vec![0, 3], (2, 3), &mut v(6)), below("ids"));
        assert_eq!(b.embed(&v(9), &vec![0, 3], (2, 3), &mut v(6)), below("ids"));
        assert_eq!(b.scatter_add(&v(6), &vec![0, 3], (2, 3), &mut v(9)), below("ids"));
        let mut qkv = v(HEADS.qkv_width());
        assert_eq!(b.rope(&mut qkv, &vec![3], &v(6), &v(6), 1, HEADS, false), below("positions"));
        let none = Err(CpuError::Shape { argument: "table", got: 0, wanted: 6 });
        assert_eq!(b.embed(&v(0), &vec![1], (1, 3), &mut v(3)), none);
    }
}

#[test]
fn a_layout_that_contradicts_itself_is_refused() {
    let good = layout(&[&[2, 1], &[1, 1]]);
    let run = |layout: &Layout| {
        let (b, v) = (CpuBackend::<f32>::reference(), |n: usize| vec![1.0; n]);
        let forward = b.attention(&v(1000), layout, HEADS, &mut v(1000), &mut v(1000));
        let backward = b.attention_backward(&v(1000), &v(1000), &v(1000), &v(1000), layout, HEADS, &mut v(1000));
        assert_eq!(forward, backward);
        forward.map_err(|e| e.to_string())
    };
    assert_eq!(run(&good), Ok(()));
    type Spoil = fn(&mut Layout);
    let cases: [(Spoil, &str); 8] = [
        (|l| l.spans[2].start = 4, "`layout.spans[2]` must start where the span before it ends"),
        (|l| l.spans[0].start = 1, "`layout.spans[0]` must start where the span before it ends"),
        (|l| l.spans[1].prefix_len = 3, "`layout.spans[1]` must have its prefix earlier in its group"),
        (|l| l.spans[3].prefix_start = 0, "`layout.spans[3]` must have its prefix earlier in its group"),
        (|l| l.spans[2].prefix_start = 9, "`layout.spans[2]` must not have its prefix after it"),
        (|l| l.groups[0] = 1, "`layout.groups[0]` must be 0"),
        (|l| l.groups[1] = 7, "`layout.groups[1]` must ascend up to the number of spans"),
        (|l| l.groups.truncate(2), "`layout.groups[1]` must be the number of spans"),
    ];
    for (spoil, message) in cases {
        let mut layout = good.clone();
        spoil(&mut layout);
        assert_eq!(run(&layout), Err(message.to_owned()));
    }
}
