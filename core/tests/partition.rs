//! The partition network: its gradients against finite differences, and its dropout.

use flowrl_core::backend::{Backend, CpuBackend};
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};
use flowrl_core::random::{Purpose, Stream};

/// Compares the hand-written backward pass with central differences of Σ cᵢ log Zᵢ, for every weight and for the
/// input.
fn check(options: PartitionOptions, training: Option<(u32, u32)>) {
    let cpu = CpuBackend::<f64>::reference();
    let (width, prompts) = (5, 3);
    let stream = Stream::new(11, Purpose::Init);
    let mut hidden: Vec<f64> = (0..prompts * width).map(|i| stream.normal(9, 9, i as u32)).collect();
    let coefficients = [0.7, -1.3, 0.4];
    let mut network = PartitionNetwork::new(&cpu, "z", width, options, 5).unwrap();
    let loss = |network: &mut PartitionNetwork<CpuBackend<f64>>, hidden: &Vec<f64>| -> f64 {
        let z = network.forward(&cpu, hidden, prompts, training).unwrap();
        z.iter().zip(coefficients).map(|(z, c)| z * c).sum()
    };
    loss(&mut network, &hidden);
    let mut d_hidden = cpu.zeros(prompts * width).unwrap();
    network.backward(&cpu, &hidden, &coefficients, Some(&mut d_hidden)).unwrap();
    let h = 1e-5;
    for i in 0..hidden.len() {
        let x = hidden[i];
        hidden[i] = x + h;
        let up = loss(&mut network, &hidden);
        hidden[i] = x - h;
        let down = loss(&mut network, &hidden);
        hidden[i] = x;
        assert!(((up - down) / (2.0 * h) - d_hidden[i]).abs() < 1e-7, "d_hidden[{i}]");
    }
    let count = network.parameters().len();
    for p in 0..count {
        let len = network.parameters()[p].len;
        for i in 0..len {
            let mut at = |shift: f64| {
                network.parameters_mut()[p].value[i] += shift;
                let value = loss(&mut network, &hidden);
                network.parameters_mut()[p].value[i] -= shift;
                value
            };
            let wanted = (at(h) - at(-h)) / (2.0 * h);
            let parameter = &network.parameters()[p];
            assert!(
                (wanted - parameter.grad[i]).abs() < 1e-7,
                "{}[{i}]: {wanted} {}",
                parameter.name,
                parameter.grad[i]
            );
        }
    }
}

#[test]
fn gradient_matches_finite_differences() {
    for layers in [1, 2, 3] {
        for layer_norm in [false, true] {
            check(PartitionOptions { layers, layer_norm, dropout: 0.0, zero_init: false }, None);
        }
    }
}

#[test]
fn gradient_of_the_released_variant_matches_under_its_dropout_mask() {
    check(PartitionOptions::RELEASED, Some((3, 0)));
}

#[test]
fn dropout_is_off_outside_training() {
    let cpu = CpuBackend::<f64>::reference();
    let mut network = PartitionNetwork::new(&cpu, "z", 6, PartitionOptions::RELEASED, 5).unwrap();
    let hidden = vec![0.3; 6];
    let plain = network.forward(&cpu, &hidden, 1, None).unwrap();
    assert_eq!(plain, network.forward(&cpu, &hidden, 1, None).unwrap());
    assert_ne!(plain, network.forward(&cpu, &hidden, 1, Some((0, 0))).unwrap());
    assert_eq!(
        network.forward(&cpu, &[hidden.clone(), hidden.clone()].concat(), 2, Some((1, 0))).unwrap()[1..],
        network.forward(&cpu, &hidden, 1, Some((1, 1))).unwrap(),
        "a prompt has its mask whatever part of the batch it is in"
    );
}
