//! Every operation of `TransformerBackend` as a function from numbers to numbers.

use flowrl_core::backend::Backend;
use flowrl_lm::backend::{Heads, Layout, Span, TransformerBackend};

use super::harness::{read, upload};

fn zeros<B: Backend>(b: &B, len: usize) -> B::Buffer {
    // The buffer is not 0, so that an operation that fails to overwrite it is noticed.
    upload(b, &vec![7.0; len])
}

pub(crate) fn embed<B: TransformerBackend>(b: &B, table: &[f64], ids: &[u32], d: usize) -> Vec<f64> {
    let mut out = zeros(b, ids.len() * d);
    b.embed(&upload(b, table), &b.index(ids).expect("memory"), (ids.len(), d), &mut out).expect("shapes fit");
    read(b, &out)
}

pub(crate) fn gather<B: TransformerBackend>(b: &B, x: &[f64], rows: &[u32], d: usize) -> Vec<f64> {
    let mut out = zeros(b, rows.len() * d);
    b.embed(&upload(b, x), &b.index(rows).expect("memory"), (rows.len(), d), &mut out).expect("shapes fit");
    read(b, &out)
}

/// Returns `start` with the rows of d_out added to it.
pub(crate) fn scatter_add<B: TransformerBackend>(
    b: &B,
    d_out: &[f64],
    ids: &[u32],
    d: usize,
    start: &[f64],
) -> Vec<f64> {
    let mut d_table = upload(b, start);
    let ids_on = b.index(ids).expect("memory");
    b.scatter_add(&upload(b, d_out), &ids_on, (ids.len(), d), &mut d_table).expect("shapes fit");
    read(b, &d_table)
}

/// Returns y and 1/rms.
pub(crate) fn rms_norm<B: TransformerBackend>(
    b: &B,
    shape: (usize, usize),
    x: &[f64],
    w: &[f64],
    eps: f64,
) -> [Vec<f64>; 2] {
    let (mut y, mut inv_rms) = (zeros(b, x.len()), zeros(b, shape.0));
    b.rms_norm(&upload(b, x), &upload(b, w), eps, shape, &mut y, &mut inv_rms).expect("shapes fit");
    [read(b, &y), read(b, &inv_rms)]
}

/// Returns dx and dw, added to `start`.
pub(crate) fn rms_norm_backward<B: TransformerBackend>(
    b: &B,
    shape: (usize, usize),
    dy: &[f64],
    x: &[f64],
    w: &[f64],
    inv_rms: &[f64],
    start: f64,
) -> [Vec<f64>; 2] {
    let (mut dx, mut dw) = (upload(b, &vec![start; x.len()]), upload(b, &vec![start; w.len()]));
    let (dy, x, w, inv_rms) = (upload(b, dy), upload(b, x), upload(b, w), upload(b, inv_rms));
    b.rms_norm_backward(&dy, &x, &w, &inv_rms, shape, &mut dx, &mut dw).expect("shapes fit");
    [read(b, &dx), read(b, &dw)]
}

/// Returns the normalised rows and 1/rms.
pub(crate) fn qk_norm<B: TransformerBackend>(
    b: &B,
    rows: usize,
    heads: Heads,
    qkv: &[f64],
    w_q: &[f64],
    w_k: &[f64],
    eps: f64,
) -> [Vec<f64>; 2] {
    let (mut out, mut inv_rms) = (zeros(b, qkv.len()), zeros(b, rows * (heads.heads + heads.kv_heads)));
    let (qkv, w_q, w_k) = (upload(b, qkv), upload(b, w_q), upload(b, w_k));
    b.qk_norm(&qkv, &w_q, &w_k, eps, rows, heads, &mut out, &mut inv_rms).expect("shapes fit");
    [read(b, &out), read(b, &inv_rms)]
}

/// Returns d_qkv, and dw_q and dw_k added to `start`.
pub(crate) fn qk_norm_backward<B: TransformerBackend>(
    b: &B,
    rows: usize,
    heads: Heads,
    [qkv, w_q, w_k, inv_rms, dy]: [&[f64]; 5],
    start: f64,
) -> [Vec<f64>; 3] {
    let (mut dw_q, mut dw_k) = (upload(b, &vec![start; w_q.len()]), upload(b, &vec![start; w_k.len()]));
    let [qkv, w_q, w_k, inv_rms, mut dy] = [qkv, w_q, w_k, inv_rms, dy].map(|x| upload(b, x));
    b.qk_norm_backward(&qkv, &w_q, &w_k, &inv_rms, rows, heads, &mut dy, &mut dw_q, &mut dw_k).expect("shapes fit");
    [read(b, &dy), read(b, &dw_q), read(b, &dw_k)]
}

pub(crate) fn rope<B: TransformerBackend>(
    b: &B,
    heads: Heads,
    qkv: &[f64],
    positions: &[u32],
    [cos, sin]: [&[f64]; 2],
    backward: bool,
) -> Vec<f64> {
    let mut qkv = upload(b, qkv);
    let index = b.index(positions).expect("memory");
    b.rope(&mut qkv, &index, &upload(b, cos), &upload(b, sin), positions.len(), heads, backward).expect("shapes fit");
    read(b, &qkv)
}

/// Returns out and log Σ exp.
pub(crate) fn attention<B: TransformerBackend>(b: &B, layout: &Layout, heads: Heads, qkv: &[f64]) -> [Vec<f64>; 2] {
    let rows = layout.rows();
    let (mut out, mut lse) = (zeros(b, rows * heads.q_width()), zeros(b, rows * heads.heads));
    b.attention(&upload(b, qkv), layout, heads, &mut out, &mut lse).expect("shapes fit");
    [read(b, &out), read(b, &lse)]
}

/// Returns d_qkv, computed from this backend's own forward pass.
pub(crate) fn attention_backward<B: TransformerBackend>(
    b: &B,
    layout: &Layout,
    heads: Heads,
    qkv: &[f64],
    d_out: &[f64],
) -> Vec<f64> {
    let [out, lse] = attention(b, layout, heads, qkv).map(|x| upload(b, &x));
    let mut d_qkv = zeros(b, qkv.len());
    let (qkv, d_out) = (upload(b, qkv), upload(b, d_out));
    b.attention_backward(&qkv, &out, &lse, &d_out, layout, heads, &mut d_qkv).expect("shapes fit");
    read(b, &d_qkv)
}

/// Feeds every row through a cache, one after another: row r is stored in slot `slots[r]` and then attends to
/// `spans[r]`.
pub(crate) fn cached_attention<B: TransformerBackend>(
    b: &B,
    heads: Heads,
    qkv: &[f64],
    slots: &[u32],
    spans: &[Span],
) -> Vec<f64> {
    let capacity = slots.iter().max().map_or(0, |s| *s as usize + 1);
    let mut cache = zeros(b, capacity * 2 * heads.kv_width());
    let mut all = Vec::new();
    for ((row, &slot), &span) in qkv.chunks_exact(heads.qkv_width()).zip(slots).zip(spans) {
        let row = upload(b, row);
        let mut out = zeros(b, heads.q_width());
        b.cache_store(&row, &[slot], heads, &mut cache).expect("shapes fit");
        b.cached_attention(&row, &cache, &[span], heads, &mut out).expect("shapes fit");
        all.extend(read(b, &out));
    }
    all
}

pub(crate) fn swiglu<B: TransformerBackend>(b: &B, shape: (usize, usize), gate_up: &[f64]) -> Vec<f64> {
    let mut out = zeros(b, shape.0 * shape.1);
    b.swiglu(&upload(b, gate_up), shape, &mut out).expect("shapes fit");
    read(b, &out)
}

pub(crate) fn swiglu_backward<B: TransformerBackend>(
    b: &B,
    shape: (usize, usize),
    gate_up: &[f64],
    d_out: &[f64],
) -> Vec<f64> {
    let mut d_gate_up = zeros(b, gate_up.len());
    b.swiglu_backward(&upload(b, gate_up), &upload(b, d_out), shape, &mut d_gate_up).expect("shapes fit");
    read(b, &d_gate_up)
}

pub(crate) fn mean_rows<B: TransformerBackend>(b: &B, x: &[f64], spans: &[(usize, usize)], d: usize) -> Vec<f64> {
    let mut out = zeros(b, spans.len() * d);
    b.mean_rows(&upload(b, x), spans, d, &mut out).expect("shapes fit");
    read(b, &out)
}

/// Returns `start` with the gradient added to it.
pub(crate) fn mean_rows_backward<B: TransformerBackend>(
    b: &B,
    d_out: &[f64],
    spans: &[(usize, usize)],
    d: usize,
    start: &[f64],
) -> Vec<f64> {
    let mut dx = upload(b, start);
    b.mean_rows_backward(&upload(b, d_out), spans, d, &mut dx).expect("shapes fit");
    read(b, &dx)
}
