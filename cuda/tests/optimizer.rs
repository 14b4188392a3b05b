//! The optimiser: AdamW's update and sums of squares.

use crate::common::{Tolerance, bits, normals};
use flowrl_core::backend::{Backend, BackendError, CpuBackend, ErrorKind, Role};
use flowrl_core::optim::{AdamW, AdamWStep};
use flowrl_lm::backend::TransformerBackend;

const OPTIONS: AdamW = AdamW { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01 };

/// Takes three steps from the same numbers and returns the bits of p, m and v.
fn steps<B: Backend<Real = f32>>(device: &B, len: usize, step: impl Fn(u64) -> AdamWStep) -> [Vec<u32>; 3] {
    let padded = |seed, scale: f32| {
        let mut x: Vec<f32> = normals(seed, len).iter().map(|x| scale * x).collect();
        x.push(f32::NAN);
        x
    };
    let mut p = device.zeros_for(Role::Weight, len + 1).unwrap();
    device.write(&mut p, 0, &padded(1, 1.0)).unwrap();
    let g = device.upload(&padded(2, 1e-3)).unwrap();
    let [mut m, mut v] = [(); 2].map(|()| device.zeros(len + 1).unwrap());
    for time in 1..=3 {
        device.adamw(&mut p, &g, &mut m, &mut v, len, &step(time)).unwrap();
    }
    [p, m, v].map(|buffer| bits(device, &buffer))
}

/// The bits equal the CPU's, including those of a bf16 weight's master copy, and numbers after `len` stay unchanged.
fn adamw_has_the_bits_of_the_cpu<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f32>::reference();
    for len in [1, 31, 257, 5000] {
        for (rate, scale) in [(1e-3, 1.0), (0.3, 0.37)] {
            let step = |time| OPTIONS.step(rate, time, scale);
            let (got, wanted) = (steps(device, len, step), steps(&cpu, len, step));
            for (what, (got, wanted)) in ["p", "m", "v"].iter().zip(got.iter().zip(&wanted)) {
                assert_eq!(got, wanted, "{what}, {len} elements");
            }
        }
    }
}

/// Products read the rounded master copy of a weight.
fn products_read_the_updated_weight<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let len = 300;
    let mut p = device.zeros_for(Role::Weight, len).unwrap();
    device.write(&mut p, 0, &normals(3, len)).unwrap();
    let [g, mut m, mut v] = [normals(4, len), vec![0.0; len], vec![0.0; len]].map(|x| device.upload(&x).unwrap());
    device.adamw(&mut p, &g, &mut m, &mut v, len, &OPTIONS.step(0.1, 1, 1.0)).unwrap();
    let mut master = vec![0.0; len];
    device.read(&p, 0, &mut master).unwrap();
    let mut rounded = device.zeros_for(Role::Activation, len).unwrap();
    device.write(&mut rounded, 0, &master).unwrap();
    // Σ x² reads the same numbers as products, so this compares the rounded copies.
    assert_eq!(device.sum_squares(&p, len).unwrap(), device.sum_squares(&rounded, len).unwrap());
}

/// Without gradients the moments reach 0 and are never subnormal.
fn moments_vanish<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f32>::reference();
    let start = [1e-30_f32, 1e-31, -1e-31, 9.9e-32, -9.8e-32, 1.2e-38, 1e-20, 0.0];
    let run = |step: AdamWStep| {
        let on = |x: &[f32]| device.upload(x).unwrap();
        let (mut p, g, mut m, mut v) = (on(&[1.0; 8]), on(&[0.0; 8]), on(&start), on(&start.map(f32::abs)));
        device.adamw(&mut p, &g, &mut m, &mut v, 8, &step).unwrap();
        [p, m, v].map(|buffer| bits(device, &buffer))
    };
    let step = OPTIONS.step(1e-3, 900, 1.0);
    let [mut p, mut m, mut v] = [vec![1.0; 8], start.to_vec(), start.map(f32::abs).to_vec()];
    cpu.adamw(&mut p, &vec![0.0; 8], &mut m, &mut v, 8, &step).unwrap();
    assert_eq!(m[5], 0.0, "the case has moments that vanish");
    assert_eq!(run(step), [p, m, v].map(|x| bits(&cpu, &x)));
}

/// The sum is in double precision and keeps terms that f32 would lose.
fn sum_squares_is_exact_to_double<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let cpu = CpuBackend::<f64>::reference();
    for role in [Role::State, Role::Activation] {
        for len in [0, 1, 31, 33, 16_384, 16_389, 100_003] {
            let mut values = normals(5, len);
            values.extend([f32::NAN; 3]);
            if len > 1 {
                values[len / 2] = 4096.0;
            }
            let mut x = device.zeros_for(role, len + 3).unwrap();
            device.write(&mut x, 0, &values).unwrap();
            let kept = crate::common::numbers(device, &x);
            let (got, wanted) = (device.sum_squares(&x, len).unwrap(), cpu.sum_squares(&kept, len).unwrap());
            assert!((got - wanted).abs() <= 1e-13 * wanted, "{len} elements: {got}, wanted {wanted}");
            assert_eq!(got.to_bits(), device.sum_squares(&x, len).unwrap().to_bits(), "the same bits twice");
        }
    }
}

fn errors<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let buffer = |len| device.zeros(len).unwrap();
    let kind = |[p, g, m, v]: [usize; 4]| {
        let (mut p, g, mut m, mut v) = (buffer(p), buffer(g), buffer(m), buffer(v));
        device.adamw(&mut p, &g, &mut m, &mut v, 5, &OPTIONS.step(0.1, 1, 1.0)).err().map(|error| error.kind())
    };
    assert_eq!(kind([5; 4]), None);
    for short in 0..4 {
        let mut lengths = [5; 4];
        lengths[short] = 4;
        assert_eq!(kind(lengths), Some(ErrorKind::Shape));
    }
    let error = device.sum_squares(&buffer(4), 5).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Shape);
}

on_every_device!(
    adamw_has_the_bits_of_the_cpu,
    products_read_the_updated_weight,
    moments_vanish,
    sum_squares_is_exact_to_double,
    errors,
);
