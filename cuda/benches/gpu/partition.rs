//! Forward and backward passes of the partition network.

use std::cell::RefCell;

use flowrl_core::backend::{Backend, LinearShape, Role};
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};

use crate::group::{Amount, Check, Group, Light, Row};
use crate::inputs::{fingerprint, fingerprint_of, numbers, table, tile};
use crate::machine::{Products, flops};
use crate::peer::Case;
use crate::{Bench, Failure};

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let (gpu, turns) = (bench.gpu.clone(), bench.sizes.turns);
    let (prompts, width) = (bench.sizes.prompts, bench.sizes.model.hidden);
    let mut network = PartitionNetwork::new(&gpu, "log_z", width, PartitionOptions::default(), 1)?;
    for (i, parameter) in network.parameters_mut().iter_mut().enumerate() {
        let period = table(&format!("partition {i}"), 2.0 * (width as f64).powf(-0.5), 0.0);
        tile(&gpu, &mut parameter.value, 0, parameter.len, &period)?;
    }
    let hidden = numbers(&gpu, Role::State, "hidden", prompts * width, 2.0)?;
    let d_log_z: Vec<f32> = table("upstream", 1.0, 0.0)[..prompts].to_vec();
    let mut d_hidden = gpu.zeros(prompts * width)?;
    let log_z = network.forward(&gpu, &hidden, prompts, None)?;
    network.backward(&gpu, &hidden, &d_log_z, Some(&mut d_hidden))?;
    let mut check = vec![fingerprint(&log_z), fingerprint_of(&gpu, &d_hidden)?];
    for parameter in network.parameters() {
        check.push(fingerprint_of(&gpu, &parameter.grad)?);
    }

    let shape = LinearShape { rows: prompts, inputs: width, outputs: width };
    let products = RefCell::new((Products::new(&gpu, shape, Role::State)?, gpu.zeros(prompts * width)?));
    let amount = Amount::Flops(2.0 * flops(shape));
    let peer =
        |name, mode| Case::new(name, "gpu/partition_network.py", mode, &[("prompts", prompts), ("width", width)], 1);
    Group {
        title: format!("partition network, forward + backward, d = {width}, {prompts} prompts, f32"),
        rows: vec![
            Row::new("only the products of the two large layers".to_owned(), amount, || {
                let (products, output) = &mut *products.borrow_mut();
                products.run(&gpu, output)?;
                products.run(&gpu, output)
            }),
            Row::new("ours, log Z copied to the host".to_owned(), amount, || {
                network.forward(&gpu, &hidden, prompts, None)?;
                Ok(network.backward(&gpu, &hidden, &d_log_z, Some(&mut d_hidden))?)
            }),
        ],
        ours: 1,
        light: Light::FirstRow,
        turns,
        peers: vec![
            peer("PyTorch eager", "eager"),
            peer("PyTorch torch.compile", "compile"),
            peer("PyTorch torch.compile in a CUDA graph", "graph"),
        ],
        check: Some(Check { fingerprints: check, tolerance: 1e-3 }),
    }
    .run(bench)
}
