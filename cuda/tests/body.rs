//! The transformer's operations on rows: embedding, norms, rotation, SwiGLU and means.

use crate::common::{Tolerance, assert_close, bits, emulated, normals, numbers, stored};
use flowrl_core::backend::{Backend, CpuBackend, LinearShape, Role};
use flowrl_cuda::{Precision, Schedule};
use flowrl_lm::backend::{Heads, TransformerBackend};

/// (rows, columns) that cover every path: a single one, odd numbers, whole vectors, several parts of rows, several
/// blocks of columns.
const SHAPES: [(usize, usize); 10] =
    [(1, 1), (300, 1), (2, 31), (37, 33), (1, 64), (300, 64), (37, 127), (300, 127), (37, 896), (2, 1000)];

/// A row that does not fit into the registers of a block.
const LONG: (usize, usize) = (2, 8200);

fn oracle() -> CpuBackend<f64> {
    CpuBackend::reference()
}

/// Returns numbers on a device, followed by NaNs that reveal an operation that reads too far.
fn poisoned<B: Backend<Real = f32>>(device: &B, role: Role, values: &[f32]) -> (B::Buffer, Vec<f64>) {
    let (buffer, mut kept) = stored(device, role, &[values, &[f32::NAN; 9]].concat());
    kept.truncate(values.len());
    (buffer, kept)
}

/// Returns the first `len` elements.
fn first<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer, len: usize) -> Vec<f64> {
    numbers(device, buffer)[..len].to_vec()
}

fn linear<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, inputs, outputs) in [(1, 1, 1), (3, 5, 7), (37, 33, 20), (2, 64, 130), (300, 2, 35), (700, 3, 264)] {
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
            // The next product is added to the stored, rounded numbers.
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
        // Gradients of weights are f32 for any storage type of activations.
        assert_close("dw", &numbers(device, &dw), &dw64, Tolerance::F32);
        assert_close("db", &numbers(device, &db), &db64, Tolerance::F32);
    }
    // An empty sum is 0.
    let (x, mut y) = (device.zeros_for(Role::Activation, 0).unwrap(), stored(device, Role::Activation, &[1.0; 6]).0);
    let nothing = LinearShape { rows: 2, inputs: 0, outputs: 3 };
    device.linear(&x, &x, None, &mut y, nothing, true).unwrap();
    assert_eq!(numbers(device, &y), [1.0; 6]);
    device.linear(&x, &x, None, &mut y, nothing, false).unwrap();
    assert_eq!(numbers(device, &y), [0.0; 6]);
}

/// Asserts that an operation left the numbers after its output unchanged.
#[track_caller]
fn assert_kept<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer, len: usize) {
    let beyond = numbers(device, buffer).split_off(len);
    assert!(beyond.iter().all(|x| x.is_nan()) && beyond.len() == 9, "written behind the end: {beyond:?}");
}

fn embedding<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, d) in SHAPES {
        let table_rows = 11;
        let (table, table64) = stored(device, Role::Weight, &normals(1, table_rows * d));
        // Half of all ids are row 4, so one group is long and the others are short, in no particular order.
        let ids: Vec<u32> = (0..rows as u32).map(|i| if i % 2 == 0 { 4 } else { i * 7 % 11 }).collect();
        let index = device.index(&ids).unwrap();
        let (mut out, _) = poisoned(device, Role::Activation, &vec![0.0; rows * d]);
        device.embed(&table, &index, (rows, d), &mut out).unwrap();
        let mut wanted = vec![0.0; rows * d];
        oracle().embed(&table64, &ids, (rows, d), &mut wanted).unwrap();
        assert_eq!(first(device, &out, rows * d), wanted);
        assert_kept(device, &out, rows * d);

        let (d_out, d_out64) = poisoned(device, Role::Activation, &normals(2, rows * d));
        for role in [Role::State, Role::Activation] {
            let (mut d_table, mut wanted) = poisoned(device, role, &vec![0.5; table_rows * d]);
            device.scatter_add(&d_out, &index, (rows, d), &mut d_table).unwrap();
            oracle().scatter_add(&d_out64, &ids, (rows, d), &mut wanted).unwrap();
            let near = if role == Role::State { Tolerance::F32 } else { near };
            assert_close("d_table", &first(device, &d_table, table_rows * d), &wanted, near);
            assert_kept(device, &d_table, table_rows * d);
        }
        let beyond = device.index(&vec![table_rows as u32; rows]).unwrap();
        assert!(device.embed(&table, &beyond, (rows, d), &mut out).unwrap_err().to_string().contains("`ids` holds 11"));
    }
}

/// Returns normal numbers with zeros in the middle row, for which only ε remains under the norm's root.
fn with_zero_row(seed: u64, rows: usize, d: usize) -> Vec<f32> {
    let mut x = normals(seed, rows * d);
    if rows > 1 {
        x[rows / 2 * d..][..d].fill(0.0);
    }
    x
}

fn rms_norm<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, d) in SHAPES.into_iter().chain([LONG]) {
        let (x, x64) = poisoned(device, Role::Activation, &with_zero_row(1, rows, d));
        let (w, w64) = poisoned(device, Role::Weight, &normals(2, d));
        let (mut y, _) = poisoned(device, Role::Activation, &vec![0.0; rows * d]);
        let (mut s, _) = poisoned(device, Role::State, &vec![0.0; rows]);
        device.rms_norm(&x, &w, 1e-6, (rows, d), &mut y, &mut s).unwrap();
        let (mut y64, mut s64) = (vec![0.0; rows * d], vec![0.0; rows]);
        oracle().rms_norm(&x64, &w64, 1e-6, (rows, d), &mut y64, &mut s64).unwrap();
        assert_close("y", &first(device, &y, rows * d), &y64, near);
        for (&s, &s64) in first(device, &s, rows).iter().zip(&s64) {
            assert_close("inv_rms", &[s], &[s64], Tolerance::F32);
        }
        assert_kept(device, &y, rows * d);
        assert_kept(device, &s, rows);

        // This part has no row of zeros, because its dx would be a thousand times that of the others.
        let (x, x64) = poisoned(device, Role::Activation, &normals(1, rows * d));
        device.rms_norm(&x, &w, 1e-6, (rows, d), &mut y, &mut s).unwrap();
        let s64 = first(device, &s, rows);
        let (dy, dy64) = poisoned(device, Role::Activation, &normals(3, rows * d));
        let (mut dx, mut dx64) = poisoned(device, Role::Activation, &normals(4, rows * d));
        let (mut dw, mut dw64) = poisoned(device, Role::State, &vec![0.25; d]);
        device.rms_norm_backward(&dy, &x, &w, &s, (rows, d), &mut dx, &mut dw).unwrap();
        oracle().rms_norm_backward(&dy64, &x64, &w64, &s64, (rows, d), &mut dx64, &mut dw64).unwrap();
        assert_close("dx", &first(device, &dx, rows * d), &dx64, near);
        assert_close("dw", &first(device, &dw, d), &dw64, Tolerance::F32);
        assert_kept(device, &dx, rows * d);
        assert_kept(device, &dw, d);
        let short = device.zeros(d - 1).unwrap();
        let error = device.rms_norm(&x, &short, 1e-6, (rows, d), &mut y, &mut s).unwrap_err().to_string();
        assert!(error.contains("`w`"), "{error}");
    }
}

/// Heads that take less than a vector, part of a warp, a whole warp and more, each with a number of rows.
const HEADS: [(Heads, usize); 5] = [
    (Heads { heads: 4, kv_heads: 2, head_dim: 6 }, 5),
    (Heads { heads: 7, kv_heads: 1, head_dim: 64 }, 1),
    (Heads { heads: 2, kv_heads: 2, head_dim: 128 }, 300),
    (Heads { heads: 16, kv_heads: 8, head_dim: 128 }, 2),
    (Heads { heads: 3, kv_heads: 1, head_dim: 328 }, 3),
];

fn qk_norm<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (heads, rows) in HEADS {
        let (len, d, count) = (rows * heads.qkv_width(), heads.head_dim, heads.heads + heads.kv_heads);
        let (x, x64) = poisoned(device, Role::Activation, &normals(1, len));
        let (w_q, q64) = stored(device, Role::Weight, &normals(2, d));
        let (w_k, k64) = stored(device, Role::Weight, &normals(3, d));
        let (mut y, _) = poisoned(device, Role::Activation, &vec![0.0; len]);
        let (mut s, _) = poisoned(device, Role::State, &vec![0.0; rows * count]);
        device.qk_norm(&x, &w_q, &w_k, 1e-6, rows, heads, &mut y, &mut s).unwrap();
        let (mut y64, mut s64) = (vec![0.0; len], vec![0.0; rows * count]);
        oracle().qk_norm(&x64, &q64, &k64, 1e-6, rows, heads, &mut y64, &mut s64).unwrap();
        assert_close("y", &first(device, &y, len), &y64, near);
        assert_close("inv_rms", &first(device, &s, rows * count), &s64, Tolerance::F32);
        assert_kept(device, &y, len);
        assert_kept(device, &s, rows * count);

        let (mut dx, mut dx64) = poisoned(device, Role::Activation, &normals(4, len));
        let (mut dq, mut dk) = (device.zeros(d).unwrap(), device.zeros(d).unwrap());
        let (mut dq64, mut dk64) = (vec![0.0; d], vec![0.0; d]);
        device.qk_norm_backward(&x, &w_q, &w_k, &s, rows, heads, &mut dx, &mut dq, &mut dk).unwrap();
        oracle().qk_norm_backward(&x64, &q64, &k64, &s64, rows, heads, &mut dx64, &mut dq64, &mut dk64).unwrap();
        assert_close("dx", &first(device, &dx, len), &dx64, near);
        assert_kept(device, &dx, len);
        assert_close("dw_q", &numbers(device, &dq), &dq64, Tolerance::F32);
        assert_close("dw_k", &numbers(device, &dk), &dk64, Tolerance::F32);
    }
}

fn rope<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (heads, rows) in HEADS {
        let (len, half) = (rows * heads.qkv_width(), heads.head_dim / 2);
        let positions: Vec<u32> = (0..rows as u32).map(|i| i * 3 % 50).collect();
        let frequencies: Vec<f64> = (0..half).map(|i| 100_f64.powf(-(i as f64) / half as f64)).collect();
        let (cos, sin) = flowrl_lm::kernel::rotary_table::<f32>(50, &frequencies);
        let (cos64, sin64) = flowrl_lm::kernel::rotary_table::<f64>(50, &frequencies);
        let (cos, sin) = (device.upload(&cos).unwrap(), device.upload(&sin).unwrap());
        let (mut x, mut x64) = poisoned(device, Role::Activation, &normals(1, len));
        let index = device.index(&positions).unwrap();
        for backward in [false, true] {
            device.rope(&mut x, &index, &cos, &sin, rows, heads, backward).unwrap();
            oracle().rope(&mut x64, &positions, &cos64, &sin64, rows, heads, backward).unwrap();
            assert_close("qkv", &first(device, &x, len), &x64, near);
            assert_kept(device, &x, len);
            x64 = first(device, &x, len);
        }
        let beyond = device.index(&vec![50; rows]).unwrap();
        let error = device.rope(&mut x, &beyond, &cos, &sin, rows, heads, false).unwrap_err().to_string();
        assert!(error.contains("`positions` holds 50"), "{error}");
    }
}

fn swiglu<B: TransformerBackend<Real = f32>>(device: &B, near: Tolerance) {
    for (rows, ff) in SHAPES.into_iter().chain([(1, 1030)]) {
        let wide: Vec<f32> = normals(1, rows * 2 * ff).iter().map(|x| x * 5.0).collect();
        let (gate_up, gate_up64) = poisoned(device, Role::Activation, &wide);
        let (d, d64) = poisoned(device, Role::Activation, &normals(2, rows * ff));
        let (mut out, _) = poisoned(device, Role::Activation, &vec![0.0; rows * ff]);
        let (mut d_gate_up, _) = poisoned(device, Role::Activation, &vec![0.0; rows * 2 * ff]);
        device.swiglu(&gate_up, (rows, ff), &mut out).unwrap();
        device.swiglu_backward(&gate_up, &d, (rows, ff), &mut d_gate_up).unwrap();
        let (mut out64, mut d_gate_up64) = (vec![0.0; rows * ff], vec![0.0; rows * 2 * ff]);
        oracle().swiglu(&gate_up64, (rows, ff), &mut out64).unwrap();
        oracle().swiglu_backward(&gate_up64, &d64, (rows, ff), &mut d_gate_up64).unwrap();
        assert_close("out", &first(device, &out, rows * ff), &out64, near);
        assert_close("d_gate_up", &first(device, &d_gate_up, rows * 2 * ff), &d_gate_up64, near);
        assert_kept(device, &out, rows * ff);
        assert_kept(device, &d_gate_up, rows * 2 * ff);
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
        let (mut dx, mut dx64) = poisoned(device, Role::Activation, &normals(3, rows * d));
        // The first span is left out because it may share its row with another, and bf16 would then round that row
        // twice.
        device.mean_rows_backward(&d_out, &spans[1..], d, &mut dx).unwrap();
        oracle().mean_rows_backward(&d_out64, &spans[1..], d, &mut dx64).unwrap();
        assert_close("dx", &first(device, &dx, rows * d), &dx64, near);
        assert_kept(device, &dx, rows * d);
        let far = [(rows, 10)];
        assert!(device.mean_rows(&x, &far, d, &mut out).unwrap_err().to_string().contains("`x`"));
    }
    // These spans share rows.
    let spans = [(0, 3), (4, 2), (2, 3), (0, 6)];
    let d_out = device.upload(&normals(2, 4 * 9)).unwrap();
    let (mut dx, mut dx64) = stored(device, Role::State, &[0.0; 6 * 9]);
    device.mean_rows_backward(&d_out, &spans, 9, &mut dx).unwrap();
    oracle().mean_rows_backward(&numbers(device, &d_out), &spans, 9, &mut dx64).unwrap();
    assert_close("dx", &numbers(device, &dx), &dx64, Tolerance::F32);
}

/// Returns the bits of all sums over rows and along them.
fn sums<B: TransformerBackend<Real = f32>>(device: &B) -> Vec<Vec<u32>> {
    let (rows, d) = (300, 40);
    let (x, _) = stored(device, Role::Activation, &normals(1, rows * d));
    let (dy, _) = stored(device, Role::Activation, &normals(2, rows * d));
    let (w, _) = stored(device, Role::Weight, &normals(3, d));
    let activation = || device.zeros_for(Role::Activation, rows * d).unwrap();
    let (mut y, mut s) = (activation(), device.zeros(rows).unwrap());
    device.rms_norm(&x, &w, 1e-6, (rows, d), &mut y, &mut s).unwrap();
    let (mut dx, mut dw) = (activation(), device.zeros(d).unwrap());
    device.rms_norm_backward(&dy, &x, &w, &s, (rows, d), &mut dx, &mut dw).unwrap();
    let mut all = [&y, &s, &dx, &dw].map(|buffer| bits(device, buffer)).to_vec();

    // This reads the same numbers as heads: two queries, a key and a value of 10 elements each.
    let heads = Heads { heads: 2, kv_heads: 1, head_dim: 10 };
    let (mut s, mut dq, mut dk) =
        (device.zeros(3 * rows).unwrap(), device.zeros(10).unwrap(), device.zeros(10).unwrap());
    device.qk_norm(&x, &w, &w, 1e-6, rows, heads, &mut y, &mut s).unwrap();
    device.qk_norm_backward(&x, &w, &w, &s, rows, heads, &mut dx, &mut dq, &mut dk).unwrap();
    all.extend([&y, &s, &dx, &dq, &dk].map(|buffer| bits(device, buffer)));

    let ids = device.index(&(0..rows as u32).map(|i| i % 3).collect::<Vec<_>>()).unwrap();
    let (mut table, mut stored_table) = (device.zeros(3 * d).unwrap(), activation());
    device.scatter_add(&dy, &ids, (rows, d), &mut table).unwrap();
    device.scatter_add(&dy, &ids, (rows, d), &mut stored_table).unwrap();
    let mut mean = device.zeros(d).unwrap();
    device.mean_rows(&x, &[(1, rows - 1)], d, &mut mean).unwrap();
    let (mut dw, mut db) = (device.zeros(d * d).unwrap(), device.zeros(d).unwrap());
    let shape = LinearShape { rows, inputs: d, outputs: d };
    device.linear_backward_weight(&dy, &x, &mut dw, Some(&mut db), shape).unwrap();
    all.extend([&table, &stored_table, &mean, &db].map(|buffer| bits(device, buffer)));
    all
}

fn sums_are_repeatable<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    assert_eq!(sums(device), sums(device));
}

/// The order of a sum does not depend on the order in which threads run.
#[test]
fn sums_have_the_same_bits_in_every_schedule() {
    for precision in [Precision::F32, Precision::Bf16] {
        let first = sums(&emulated(precision, Schedule::Forward));
        for schedule in [Schedule::Reverse, Schedule::Random(5)] {
            assert_eq!(sums(&emulated(precision, schedule)), first, "{precision:?}, {schedule:?}");
        }
    }
}

/// A product is refused by name if its bias or result is not stored as a GPU's library needs it.
#[test]
fn products_of_mixed_storage_are_refused() {
    let device = crate::common::emulated(flowrl_cuda::Precision::Bf16, flowrl_cuda::Schedule::Forward);
    let shape = LinearShape { rows: 1, inputs: 2, outputs: 2 };
    let half = |len| device.zeros_for(Role::Activation, len).unwrap();
    let error = device.linear(&half(2), &half(4), Some(&device.zeros(2).unwrap()), &mut half(2), shape, false);
    assert!(error.unwrap_err().to_string().contains("`bias` is stored as f32"));
    let (x, w) = (device.zeros(2).unwrap(), device.zeros(4).unwrap());
    let error = device.linear(&x, &w, None, &mut half(2), shape, false);
    assert!(error.unwrap_err().to_string().contains("`y` is stored as bf16"));
}

on_every_device!(linear, embedding, rms_norm, qk_norm, rope, swiglu, means, sums_are_repeatable);
