//! Log-probabilities from hidden states, forward and backward: three products with the head's weights, and the kernels
//! between them.

use std::cell::RefCell;

use flowrl_core::backend::{Backend, LinearShape, Role};

use crate::group::{Amount, Check, Group, Light, Row};
use crate::inputs::{fingerprint_of, numbers, targets};
use crate::machine::{Products, flops};
use crate::peer::Case;
use crate::{Bench, Failure};

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    bench.sizes.widths.iter().try_for_each(|&width| of_width(bench, width))
}

fn of_width(bench: &mut Bench, width: usize) -> Result<(), Failure> {
    let (gpu, turns, (rows, vocab)) = (bench.gpu.clone(), bench.sizes.turns.min(10), bench.sizes.logits);
    let shape = LinearShape { rows, inputs: width, outputs: vocab };
    let chosen = targets(&gpu, rows, vocab)?;
    let upstream = numbers(&gpu, Role::State, "upstream", rows, 1.0)?;
    // Both rows share their buffers, which are large.
    let shared =
        RefCell::new((Products::new(&gpu, shape, Role::Activation)?, gpu.zeros_for(Role::Activation, rows * vocab)?));
    let (mut log_sum_exp, mut entropy) = (gpu.zeros(rows)?, gpu.zeros(rows)?);
    let log_prob = RefCell::new(gpu.zeros(rows)?);
    let mut pass = || -> Result<(), Failure> {
        let (products, logits) = &mut *shared.borrow_mut();
        products.forward(&gpu, logits)?;
        gpu.log_prob(logits, &chosen, (rows, vocab), 1.0, &mut log_prob.borrow_mut(), &mut log_sum_exp, &mut entropy)?;
        gpu.log_prob_backward(logits, &chosen, (rows, vocab), 1.0, &log_sum_exp, &upstream, None)?;
        products.backward(&gpu, logits)
    };
    pass()?;
    let check = {
        let (products, _) = &*shared.borrow();
        let of = |buffer| fingerprint_of(&gpu, buffer);
        vec![of(&log_prob.borrow())?, of(&products.d_input)?, of(&products.d_weight)?]
    };
    let peer =
        |name, mode| Case::new(name, "gpu/head.py", mode, &[("rows", rows), ("width", width), ("vocab", vocab)], 1);
    let amount = Amount::Flops(flops(shape));
    Group {
        title: format!("log-prob from hidden states, forward + backward, d = {width}, {}", bench.dtype()),
        rows: vec![
            Row::new("only the three products".to_owned(), amount, || {
                let (products, logits) = &mut *shared.borrow_mut();
                products.run(&gpu, logits)
            }),
            Row::new("ours".to_owned(), amount, pass),
        ],
        ours: 1,
        light: Light::FirstRow,
        turns,
        peers: vec![
            peer("PyTorch eager", "eager"),
            peer("PyTorch torch.compile", "compile"),
            peer("Liger fused linear cross entropy", "liger"),
            peer("Liger, with 32 times the memory for its chunks", "liger-32"),
        ],
        check: Some(Check { fingerprints: check, tolerance: 2e-2 }),
    }
    .run(bench)
}
