//! Tests of kernels that the traits do not reach by themselves: the products of tiles, and the fallbacks of cuBLASLt.

use flowrl_core::backend::{Backend, LinearShape, Role};

use super::CudaBackend;
use crate::buffer::Buffer;
use crate::emulated::{EmulatorOptions, Schedule};
use crate::kernels;
use crate::product::Product;
use crate::unit::{Precision, Storage};

/// Returns integers so small that every precision holds them and every order of summation gives the same sum.
fn whole(len: usize, seed: usize) -> Vec<f32> {
    (0..len).map(|i| ((i * i * 7 + i * seed + i / 5) % 5) as f32 - 2.0).collect()
}

fn stored(device: &CudaBackend, role: Role, values: &[f32]) -> Buffer {
    let mut buffer = device.zeros_for(role, values.len()).unwrap();
    device.write(&mut buffer, 0, values).unwrap();
    buffer
}

fn numbers(device: &CudaBackend, buffer: &Buffer) -> Vec<f32> {
    let mut numbers = vec![0.0; buffer.len];
    device.read(buffer, 0, &mut numbers).unwrap();
    numbers
}

/// The fallback for cuBLASLt gives the same numbers within a tile, at its borders, over several tiles, and with one
/// row or column.
#[test]
fn the_own_kernel_multiplies_as_described() {
    for (precision, schedule) in [(Precision::F32, Schedule::Random(1)), (Precision::Bf16, Schedule::Reverse)] {
        let device = CudaBackend::emulated(EmulatorOptions { schedule, ..EmulatorOptions::default() }, precision);
        for (rows, inputs, outputs) in [(1, 1, 1), (33, 32, 1), (1, 70, 31), (32, 5, 65), (40, 33, 32)] {
            let shape = LinearShape { rows, inputs, outputs };
            let same = [precision.storage(); 2];
            let products = [
                (Product::forward(shape, same, false, false), Role::Activation),
                (Product::forward(shape, same, true, false), Role::Activation),
                (Product::forward(shape, same, true, true), Role::Activation),
                (Product::backward_input(shape, same, true), Role::Activation),
                // The result is f32, as for gradients of weights.
                (Product::backward_weight(shape, [same[0], Storage::F32]), Role::State),
            ];
            for (product, role) in products {
                let a = stored(&device, Role::Activation, &whole(product.a.len(), 1));
                let b = stored(&device, Role::Activation, &whole(product.b.len(), 3));
                let bias = product.bias.then(|| stored(&device, role, &whole(product.rows, 4)));
                let [mut wanted, mut got] =
                    [(); 2].map(|()| stored(&device, role, &whole(product.rows * product.columns, 2)));
                device.multiply(&product, &a, &b, bias.as_ref(), &mut wanted).unwrap();
                device.multiply_by_own_kernel(&product, &a, &b, bias.as_ref(), &mut got).unwrap();
                assert_eq!(numbers(&device, &got), numbers(&device, &wanted), "{precision:?}, {product:?}");
            }
        }
    }
}

#[test]
fn a_bias_is_put_into_every_row() {
    for precision in [Precision::F32, Precision::Bf16] {
        let device = CudaBackend::emulated(EmulatorOptions::default(), precision);
        for (rows, columns) in [(1, 1), (3, 31), (2, 1500)] {
            let bias = stored(&device, Role::Activation, &whole(columns, 6));
            let mut y = stored(&device, Role::Activation, &whole(rows * columns + 1, 2));
            let last = numbers(&device, &y)[rows * columns];
            kernels::put_bias(&device.device, (&bias, &mut y), (rows, columns)).unwrap();
            let wanted = [numbers(&device, &bias).repeat(rows), vec![last]].concat();
            assert_eq!(numbers(&device, &y), wanted);
        }
    }
}

fn products_are_exact(device: &CudaBackend) {
    let (a, b) = (whole(64 * 48, 3), whole(32 * 48, 8));
    let [a_there, b_there] = [&a, &b].map(|values| stored(device, Role::Activation, values));
    let (mut by_rows, mut product) = (device.zeros(64 * 32).unwrap(), device.zeros(64 * 48).unwrap());
    kernels::tile_products(&device.device, (&a_there, &b_there, &mut by_rows, &mut product), ()).unwrap();
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    let wanted: Vec<f32> = a.chunks(48).flat_map(|a| b.chunks(48).map(move |b| dot(a, b))).collect();
    let column = |j: usize| b.iter().skip(j).step_by(48).copied().collect::<Vec<_>>();
    let wanted_product: Vec<f32> =
        wanted.chunks(32).flat_map(|row| (0..48).map(|j| dot(row, &column(j))).collect::<Vec<_>>()).collect();
    assert!(wanted.iter().all(|x| x.abs() <= 256.0), "bf16 holds whole numbers up to 256");
    for (got, wanted) in [(by_rows, wanted), (product, wanted_product)] {
        assert_eq!(numbers(device, &got), wanted);
    }
}

#[test]
fn products_of_tiles_are_exact() {
    for precision in [Precision::F32, Precision::Bf16] {
        for schedule in [Schedule::Forward, Schedule::Reverse, Schedule::Random(5)] {
            let options = EmulatorOptions { schedule, threads: 1, ..EmulatorOptions::default() };
            products_are_exact(&CudaBackend::emulated(options, precision));
        }
    }
}

#[test]
fn products_of_tiles_are_exact_on_gpu() {
    for precision in [Precision::F32, Precision::Bf16] {
        match CudaBackend::new(0, precision) {
            Ok(device) => products_are_exact(&device),
            Err(error) => println!("skipped, no GPU: {error}"),
        }
    }
}
