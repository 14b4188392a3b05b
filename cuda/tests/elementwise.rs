//! Elementwise operations.

use crate::common::{Tolerance, assert_close, normals, numbers, stored};
use flowrl_core::backend::{Backend, CpuBackend, Role};
use flowrl_lm::backend::TransformerBackend;

fn gelu<B: TransformerBackend<Real = f32>>(device: &B, tolerance: Tolerance) {
    let oracle = CpuBackend::<f64>::reference();
    for len in [1, 31, 257, 1000] {
        let (x, x_kept) = stored(device, Role::Activation, &normals(1, len));
        let (mut dy, dy_kept) = stored(device, Role::Activation, &normals(2, len));
        let mut y = device.zeros_for(Role::Activation, len).unwrap();
        device.gelu(&x, &mut y, len).unwrap();
        device.gelu_backward(&x, &mut dy, len).unwrap();
        let (mut wanted, mut wanted_dx) = (vec![0.0; len], dy_kept);
        oracle.gelu(&x_kept, &mut wanted, len).unwrap();
        oracle.gelu_backward(&x_kept, &mut wanted_dx, len).unwrap();
        assert_close("y", &numbers(device, &y), &wanted, tolerance);
        assert_close("dx", &numbers(device, &dy), &wanted_dx, tolerance);
    }
}

fn fill<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let (mut x, kept) = stored(device, Role::Activation, &normals(1, 100));
    device.fill(&mut x, 1.5, 70).unwrap();
    let wanted: Vec<f64> = kept.iter().enumerate().map(|(i, x)| if i < 70 { 1.5 } else { *x }).collect();
    assert_eq!(numbers(device, &x), wanted);
    device.fill(&mut x, 0.0, 100).unwrap();
    assert_eq!(numbers(device, &x), vec![0.0; 100]);
}

on_every_device!(gelu, fill);
