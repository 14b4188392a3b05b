//! The transformer's operations on rows: embedding, norms, rotation, SwiGLU, means.

mod common;

use common::{Tolerance, assert_close, bits, normals, numbers, stored};
use flowrl_core::backend::{Backend, CpuBackend, LinearShape, Role};
use flowrl_lm::backend::{Heads, TransformerBackend};

/// (rows, columns) that meet every path: one of a kind, odd, whole vectors, more columns than threads.
const SHAPES: [(usize, usize); 7] = [(1, 1), (2, 31), (37, 33), (3, 64), (300, 8), (2, 127), (5, 1000)];

fn oracle() -> CpuBackend<f64> {
    CpuBackend::reference()
}

/// Numbers on a device behind which lie NaNs: an operation that reads too far shows.
fn poisoned<B: Backend<Real = f32>>(device: &B, role: Role, values: &[f32]) -> (B::Buffer, Vec<f64>) {
    let (buffer, mut kept) = stored(device, role, &[values, &[f32::NAN; 9]].concat());
    kept.truncate(values.len());
    (buffer, kept)
}

/// The first elements.
fn first<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer, len: usize) -> Vec<f64> {
    numbers(device, buffer)[..len].to_vec()
}

fn linear<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (37, 33, 20), (2, 64, 130)] {
        let shape = LinearShape { rows, inputs, outputs };
        let (x, x64) = stored(device, Role::Activation, &normals(1, rows * inputs));
        let (w, w64) = stored(device, Role::Weight, &normals(2, outputs * inputs));
        let (b, b64) = stored(device, Role::Weight, &normals(3, outputs));
        let (mut y, mut y64) = stored(device, Role::Activation, &normals(4, rows * outputs));
        for (bias, bias64, accumulate) in
            [(None, None, false), (Some(&b), Some(&b64), false), (Some(&b), Some(&b64), true)]
        {
            device.linear(&x, &w, bias, &mut y, shape, accumulate).unwrap();
            oracle().linear(&x64, &w64, bias64, &mut y64, shape, accumulate).unwrap();
            assert_close("y", &numbers(device, &y), &y64, near);
            // What is added to next is what was stored.
            y64 = numbers(device, &y);
        }
        let (dy, dy64) = stored(device, Role::Activation, &normals(5, rows * outputs));
        let (mut dx, mut dx64) = stored(device, Role::Activation, &normals(6, rows * inputs));
        device.linear_backward_input(&dy, &w, &mut dx, shape, true).unwrap();
        oracle().linear_backward_input(&dy64, &w64, &mut dx64, shape, true).unwrap();
        assert_close("dx", &numbers(device, &dx), &dx64, near);
        let mut dw = device.upload(&normals(7, outputs * inputs)).unwrap();
        let mut db = device.upload(&normals(8, outputs)).unwrap();
        let (mut dw64, mut db64) = (numbers(device, &dw), numbers(device, &db));
        device.linear_backward_weight(&dy, &x, &mut dw, Some(&mut db), shape).unwrap();
        oracle().linear_backward_weight(&dy64, &x64, &mut dw64, Some(&mut db64), shape).unwrap();
        // Gradients of weights are f32 whatever the activations are.
        assert_close("dw", &numbers(device, &dw), &dw64, Tolerance::F32);
        assert_close("db", &numbers(device, &db), &db64, Tolerance::F32);
    }
}

fn embedding<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, d) in SHAPES {
        let table_rows = 11;
        let (table, table64) = stored(device, Role::Weight, &normals(1, table_rows * d));
        let ids: Vec<u32> = (0..rows as u32).map(|i| i * 7 % 5).collect();
        let index = device.index(&ids).unwrap();
        let mut out = device.zeros_for(Role::Activation, rows * d).unwrap();
        device.embed(&table, &index, (rows, d), &mut out).unwrap();
        let mut want = vec![0.0; rows * d];
        oracle().embed(&table64, &ids, (rows, d), &mut want).unwrap();
        assert_eq!(numbers(device, &out), want);

        let (d_out, d_out64) = poisoned(device, Role::Activation, &normals(2, rows * d));
        for role in [Role::State, Role::Activation] {
            let mut d_table = device.zeros_for(role, table_rows * d).unwrap();
            device.fill(&mut d_table, 0.5, table_rows * d).unwrap();
            let mut want = numbers(device, &d_table);
            device.scatter_add(&d_out, &index, (rows, d), &mut d_table).unwrap();
            oracle().scatter_add(&d_out64, &ids, (rows, d), &mut want).unwrap();
            let near = if role == Role::State { Tolerance::F32 } else { near };
            assert_close("d_table", &numbers(device, &d_table), &want, near);
        }
        let beyond = device.index(&vec![table_rows as u32; rows]).unwrap();
        assert!(device.embed(&table, &beyond, (rows, d), &mut out).unwrap_err().to_string().contains("`ids` holds 11"));
    }
}

fn rms_norm<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, d) in SHAPES {
        let (x, x64) = poisoned(device, Role::Activation, &normals(1, rows * d));
        let (w, w64) = poisoned(device, Role::Weight, &normals(2, d));
        let (mut y, mut s) = (device.zeros_for(Role::Activation, rows * d).unwrap(), device.zeros(rows).unwrap());
        device.rms_norm(&x, &w, 1e-6, (rows, d), &mut y, &mut s).unwrap();
        let (mut y64, mut s64) = (vec![0.0; rows * d], vec![0.0; rows]);
        oracle().rms_norm(&x64, &w64, 1e-6, (rows, d), &mut y64, &mut s64).unwrap();
        assert_close("y", &numbers(device, &y), &y64, near);
        assert_close("inv_rms", &numbers(device, &s), &s64, Tolerance::F32);

        let (dy, dy64) = poisoned(device, Role::Activation, &normals(3, rows * d));
        let (mut dx, mut dx64) = stored(device, Role::Activation, &normals(4, rows * d));
        let (mut dw, mut dw64) = (device.upload(&vec![0.25; d]).unwrap(), vec![0.25; d]);
        device.rms_norm_backward(&dy, &x, &w, &s, (rows, d), &mut dx, &mut dw).unwrap();
        oracle().rms_norm_backward(&dy64, &x64, &w64, &s64, (rows, d), &mut dx64, &mut dw64).unwrap();
        assert_close("dx", &numbers(device, &dx), &dx64, near);
        assert_close("dw", &numbers(device, &dw), &dw64, Tolerance::F32);
    }
}

const HEADS: [Heads; 3] = [
    Heads { heads: 4, kv_heads: 2, head_dim: 6 },
    Heads { heads: 7, kv_heads: 1, head_dim: 64 },
    Heads { heads: 2, kv_heads: 2, head_dim: 128 },
];

fn qk_norm<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (heads, rows) in HEADS.into_iter().zip([5, 1, 140]) {
        let (len, d, count) = (rows * heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        let (x, x64) = poisoned(device, Role::Activation, &normals(1, len));
        let (w_q, q64) = stored(device, Role::Weight, &normals(2, d));
        let (w_k, k64) = stored(device, Role::Weight, &normals(3, d));
        let (mut y, mut s) = (device.zeros_for(Role::Activation, len).unwrap(), device.zeros(rows * count).unwrap());
        device.qk_norm(&x, &w_q, &w_k, 1e-6, rows, heads, &mut y, &mut s).unwrap();
        let (mut y64, mut s64) = (vec![0.0; len], vec![0.0; rows * count]);
        oracle().qk_norm(&x64, &q64, &k64, 1e-6, rows, heads, &mut y64, &mut s64).unwrap();
        assert_close("y", &numbers(device, &y), &y64, near);

        let (mut dx, mut dx64) = stored(device, Role::Activation, &normals(4, len));
        let (mut dq, mut dk) = (device.zeros(d).unwrap(), device.zeros(d).unwrap());
        let (mut dq64, mut dk64) = (vec![0.0; d], vec![0.0; d]);
        device.qk_norm_backward(&x, &w_q, &w_k, &s, rows, heads, &mut dx, &mut dq, &mut dk).unwrap();
        oracle().qk_norm_backward(&x64, &q64, &k64, &s64, rows, heads, &mut dx64, &mut dq64, &mut dk64).unwrap();
        assert_close("dx", &numbers(device, &dx), &dx64, near);
        assert_close("dw_q", &numbers(device, &dq), &dq64, Tolerance::F32);
        assert_close("dw_k", &numbers(device, &dk), &dk64, Tolerance::F32);
    }
}

fn rope<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (heads, rows) in HEADS.into_iter().zip([5, 1, 40]) {
        let (len, half) = (rows * heads.qkv_width(), heads.head_dim / 2);
        let positions: Vec<u32> = (0..rows as u32).map(|i| i * 3 % 50).collect();
        let frequencies: Vec<f64> = (0..half).map(|i| 100_f64.powf(-(i as f64) / half as f64)).collect();
        let (cos, sin) = flowrl_lm::kernel::rope::table::<f32>(50, &frequencies);
        let (cos64, sin64) = flowrl_lm::kernel::rope::table::<f64>(50, &frequencies);
        let (cos, sin) = (device.upload(&cos).unwrap(), device.upload(&sin).unwrap());
        let (mut x, mut x64) = stored(device, Role::Activation, &normals(1, len));
        let index = device.index(&positions).unwrap();
        for backward in [false, true] {
            device.rope(&mut x, &index, &cos, &sin, rows, heads, backward).unwrap();
            oracle().rope(&mut x64, &positions, &cos64, &sin64, rows, heads, backward).unwrap();
            assert_close("qkv", &numbers(device, &x), &x64, near);
            x64 = numbers(device, &x);
        }
    }
}

fn swiglu<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, ff) in SHAPES {
        let wide: Vec<f32> = normals(1, rows * 2 * ff).iter().map(|x| x * 5.0).collect();
        let (gate_up, gate_up64) = poisoned(device, Role::Activation, &wide);
        let (d, d64) = poisoned(device, Role::Activation, &normals(2, rows * ff));
        let mut out = device.zeros_for(Role::Activation, rows * ff).unwrap();
        let mut d_gate_up = device.zeros_for(Role::Activation, rows * 2 * ff).unwrap();
        device.swiglu(&gate_up, (rows, ff), &mut out).unwrap();
        device.swiglu_backward(&gate_up, &d, (rows, ff), &mut d_gate_up).unwrap();
        let (mut out64, mut d_gate_up64) = (vec![0.0; rows * ff], vec![0.0; rows * 2 * ff]);
        oracle().swiglu(&gate_up64, (rows, ff), &mut out64).unwrap();
        oracle().swiglu_backward(&gate_up64, &d64, (rows, ff), &mut d_gate_up64).unwrap();
        assert_close("out", &numbers(device, &out), &out64, near);
        assert_close("d_gate_up", &numbers(device, &d_gate_up), &d_gate_up64, near);
    }
}

fn means<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, d) in SHAPES {
        let spans = [(0, 1), (rows / 2, rows - rows / 2), (0, 0)];
        let (x, x64) = poisoned(device, Role::Activation, &normals(1, rows * d));
        let mut out = device.zeros(3 * d).unwrap();
        device.mean_rows(&x, &spans, d, &mut out).unwrap();
        let mut out64 = vec![0.0; 3 * d];
        oracle().mean_rows(&x64, &spans, d, &mut out64).unwrap();
        assert_close("mean", &numbers(device, &out), &out64, Tolerance::F32);

        let d_out = device.upload(&normals(2, 3 * d)).unwrap();
        let d_out64 = numbers(device, &d_out);
        let (mut dx, mut dx64) = stored(device, Role::Activation, &normals(3, rows * d));
        let parts = &spans[1..];
        device.mean_rows_backward(&d_out, parts, d, &mut dx).unwrap();
        oracle().mean_rows_backward(&d_out64, parts, d, &mut dx64).unwrap();
        assert_close("dx", &first(device, &dx, rows * d), &dx64, near);
    }
}

/// Sums over rows have one order: the same bits twice, and in every order of threads.
fn sums_are_repeatable<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (rows, d) = (300, 40);
    let (x, _) = stored(device, Role::Activation, &normals(1, rows * d));
    let (dy, _) = stored(device, Role::Activation, &normals(2, rows * d));
    let (w, _) = stored(device, Role::Weight, &normals(3, d));
    let run = || {
        let (mut y, mut s) = (device.zeros_for(Role::Activation, rows * d).unwrap(), device.zeros(rows).unwrap());
        device.rms_norm(&x, &w, 1e-6, (rows, d), &mut y, &mut s).unwrap();
        let mut dx = device.zeros_for(Role::Activation, rows * d).unwrap();
        let mut dw = device.zeros(d).unwrap();
        device.rms_norm_backward(&dy, &x, &w, &s, (rows, d), &mut dx, &mut dw).unwrap();
        [bits(device, &y), bits(device, &s), bits(device, &dx), bits(device, &dw)]
    };
    assert_eq!(run(), run());
}

on_every_device!(linear, embedding, rms_norm, qk_norm, rope, swiglu, means, sums_are_repeatable);
