//! The partition network, and the operations that only it uses: layer normalisation and dropout. They are f32 in either
//! precision.

use crate::common::{Tolerance, assert_close, bits, normals, numbers};
use flowrl_core::backend::{Backend, BackendError, CpuBackend, DropoutMask, ErrorKind};
use flowrl_core::parameter;
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::backend::TransformerBackend;

const SHAPES: [(usize, usize); 8] = [(1, 1), (2, 31), (37, 33), (5, 127), (3, 1000), (1937, 7), (2, 9001), (70, 64)];

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().copied().map(f64::from).collect()
}

fn padded(x: &[f32]) -> Vec<f32> {
    [x, &[f32::NAN; 3]].concat()
}

/// Returns the first `len` elements and checks that the poison after them is still there.
#[track_caller]
fn used<B: Backend<Real = f32>>(device: &B, buffer: &B::Buffer, len: usize) -> Vec<f64> {
    let mut all = numbers(device, buffer);
    assert!(all.split_off(len).iter().all(|x| x.is_nan()), "something was written behind the end");
    all
}

fn layer_norm<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f64>::reference();
    let eps = 1e-5;
    for shape @ (rows, columns) in SHAPES {
        let len = rows * columns;
        // The mean is not 0, and one row has no variance.
        let mut x: Vec<f32> = normals(1, len).iter().map(|x| 3.0 + 2.0 * x).collect();
        x[..columns].fill(0.25);
        let (gamma, beta, dy) = (normals(2, columns), normals(3, columns), normals(4, len));
        let (d_gamma, d_beta) = (normals(5, columns), normals(6, columns));
        let run = || {
            let on = |x: &[f32]| device.upload(&padded(x)).unwrap();
            let (x, gamma, beta) = (on(&x), on(&gamma), on(&beta));
            let (mut y, mut mean, mut inv_std) = (on(&vec![9.0; len]), on(&vec![9.0; rows]), on(&vec![9.0; rows]));
            device.layer_norm(&x, &gamma, &beta, &mut y, &mut mean, &mut inv_std, shape, eps).unwrap();
            let (mut dy, mut d_gamma, mut d_beta) = (on(&dy), on(&d_gamma), on(&d_beta));
            device.layer_norm_backward(&x, &gamma, &mean, &inv_std, &mut dy, &mut d_gamma, &mut d_beta, shape).unwrap();
            [y, mean, inv_std, dy, d_gamma, d_beta]
        };
        let got = run();
        let [x, gamma, beta] = [&x, &gamma, &beta].map(|x| wide(x));
        let (mut y, mut mean, mut inv_std) = (vec![0.0; len], vec![0.0; rows], vec![0.0; rows]);
        cpu.layer_norm(&x, &gamma, &beta, &mut y, &mut mean, &mut inv_std, shape, eps).unwrap();
        let [mut dy, mut d_gamma, mut d_beta] = [&dy, &d_gamma, &d_beta].map(|x| wide(x));
        cpu.layer_norm_backward(&x, &gamma, &mean, &inv_std, &mut dy, &mut d_gamma, &mut d_beta, shape).unwrap();
        let wanted = [y, mean, inv_std, dy, d_gamma, d_beta];
        let names = ["y", "mean", "inv_std", "dx", "d_gamma", "d_beta"];
        for ((name, wanted), got) in names.iter().zip(&wanted).zip(&got) {
            assert_close(&format!("{shape:?} {name}"), &used(device, got, wanted.len()), wanted, Tolerance::F32);
        }
        assert_eq!(got.map(|x| bits(device, &x)), run().map(|x| bits(device, &x)), "the same bits twice");
    }
}

/// The masks equal the CPU's bit for bit.
fn dropout_has_the_masks_of_the_cpu<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f32>::reference();
    for shape @ (rows, columns) in SHAPES {
        let mut x = normals(7, rows * columns);
        x[0] = -0.0;
        let mask =
            DropoutMask { rate: 0.3, stream: Stream::new(9 << 40 | 77, Purpose::Dropout), step: 3, first_row: 11 };
        let (mut on, mut wanted) = (device.upload(&padded(&x)).unwrap(), padded(&x));
        device.dropout(&mut on, shape, mask).unwrap();
        cpu.dropout(&mut wanted, shape, mask).unwrap();
        assert_eq!(bits(device, &on), bits(&cpu, &wanted), "{shape:?}");
    }
}

/// All 53 bits of the random number u count: an element is kept if the rate is exactly u and dropped at the next larger
/// rate.
fn dropout_draws_the_numbers_of_the_cpu<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    // The all-zero words belong to a published vector of Philox4x32-10. The other cases differ in every word.
    for (seed, purpose, step, row) in [
        (0, Purpose::Sample, 0, 0),
        (u64::MAX, Purpose::Dropout, u32::MAX, 0xffff_fff0),
        (0x299f_31d0_a409_3822, Purpose::Shuffle, 0x1319_8a2e, 0x85a3_08d3),
        (7, Purpose::Evaluate, 12, 3),
    ] {
        let stream = Stream::new(seed, purpose);
        for column in [0, 1, 63] {
            let u = stream.uniform(step, row, column as u32);
            let kept = |rate| {
                let mut x = device.upload(&[1.0; 64]).unwrap();
                device.dropout(&mut x, (1, 64), DropoutMask { rate, stream, step, first_row: row }).unwrap();
                numbers(device, &x)[column] != 0.0
            };
            let bit = 1.0 / (1_u64 << 53) as f64;
            assert!(kept(u) && !kept(u + bit), "u = {u} at {step}, {row}, {column}");
        }
    }
    let words = Stream::new(0, Purpose::Sample).bits(0, 0, 0);
    assert_eq!(words, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8], "the published vector");
}

/// Compares log Z, every gradient and their norm with the network on the CPU in f64.
fn network<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f64>::reference();
    for (width, prompts) in [(5, 1), (33, 37), (128, 6)] {
        let plain = PartitionOptions { zero_init: false, ..PartitionOptions::default() };
        let single = PartitionOptions { layers: 1, ..plain };
        for (options, training) in [(plain, None), (single, None), (PartitionOptions::RELEASED, Some((3, 40)))] {
            let hidden = normals(8, prompts * width);
            // One of several prompts has no gradient.
            let mut d_log_z = normals(9, prompts);
            d_log_z[prompts / 2] = if prompts > 1 { 0.0 } else { 1.0 };
            let on = device.upload(&hidden).unwrap();
            let mut d_hidden = device.zeros(hidden.len()).unwrap();
            let mut network = PartitionNetwork::new(device, "z", width, options, 5).unwrap();
            let log_z = network.forward(device, &on, prompts, training).unwrap();
            network.backward(device, &on, &d_log_z, Some(&mut d_hidden)).unwrap();

            let hidden = wide(&hidden);
            let mut wanted_d_hidden = vec![0.0; hidden.len()];
            let mut wanted = PartitionNetwork::new(&cpu, "z", width, options, 5).unwrap();
            let wanted_log_z = wanted.forward(&cpu, &hidden, prompts, training).unwrap();
            wanted.backward(&cpu, &hidden, &wide(&d_log_z), Some(&mut wanted_d_hidden)).unwrap();

            // A few f32 products follow each other.
            let tolerance = Tolerance { relative: 4e-5, bf16: false };
            let what = format!("{options:?}, width {width}, {prompts} prompts");
            assert_close(&format!("log Z, {what}"), &wide(&log_z), &wanted_log_z, tolerance);
            assert_close(&format!("d_hidden, {what}"), &numbers(device, &d_hidden), &wanted_d_hidden, tolerance);
            for (got, wanted) in network.parameters().iter().zip(wanted.parameters()) {
                assert_close(&format!("{}, {what}", got.name), &numbers(device, &got.grad), &wanted.grad, tolerance);
            }
            let norm = parameter::grad_norm(device, network.parameters()).unwrap();
            let wanted_norm = parameter::grad_norm(&cpu, wanted.parameters()).unwrap();
            assert!((norm / wanted_norm - 1.0).abs() < 4e-5, "‖gradient‖ {norm}, wanted {wanted_norm}, {what}");
        }
    }
}

fn errors<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let buffer = |len| device.zeros(len).unwrap();
    let mask = DropoutMask { rate: 0.5, stream: Stream::new(1, Purpose::Dropout), step: 0, first_row: 0 };
    assert_eq!(device.dropout(&mut buffer(5), (2, 3), mask).unwrap_err().kind(), ErrorKind::Shape);
    let kind = |[x, gamma, beta, y, mean, inv_std]: [usize; 6]| {
        let (mut y, mut mean, mut inv_std) = (buffer(y), buffer(mean), buffer(inv_std));
        let result =
            device.layer_norm(&buffer(x), &buffer(gamma), &buffer(beta), &mut y, &mut mean, &mut inv_std, (2, 3), 1e-5);
        result.err().map(|error| error.kind())
    };
    assert_eq!(kind([6, 3, 3, 6, 2, 2]), None);
    for short in 0..6 {
        let mut lengths = [6, 3, 3, 6, 2, 2];
        lengths[short] -= 1;
        assert_eq!(kind(lengths), Some(ErrorKind::Shape), "{lengths:?}");
    }
}

on_every_device!(layer_norm, dropout_has_the_masks_of_the_cpu, dropout_draws_the_numbers_of_the_cpu, network, errors,);
