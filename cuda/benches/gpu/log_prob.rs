//! Log-probabilities of logits, and their gradient, which overwrites the logits. Memory bandwidth bounds both.

use std::cell::RefCell;

use flowrl_core::backend::{Backend, Role};

use crate::group::{Amount, Check, Group, Light, Row};
use crate::inputs::{fingerprint_of, numbers, targets};
use crate::peer::Case;
use crate::{Bench, Failure};

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let (gpu, turns, (rows, vocab)) = (bench.gpu.clone(), bench.sizes.turns, bench.sizes.logits);
    let elements = rows * vocab;
    let given = numbers(&gpu, Role::Activation, "logits", elements, 8.0)?;
    let chosen = targets(&gpu, rows, vocab)?;
    let upstream = numbers(&gpu, Role::State, "upstream", rows, 1.0)?;
    let logits = RefCell::new(gpu.zeros_for(Role::Activation, elements)?);
    let (mut log_prob, mut log_sum_exp, mut entropy) = (gpu.zeros(rows)?, gpu.zeros(rows)?, gpu.zeros(rows)?);
    let restore = || Ok(gpu.copy(&mut logits.borrow_mut(), &given, elements)?);
    let shape = (rows, vocab);
    restore()?;
    gpu.log_prob(&given, &chosen, shape, 1.0, &mut log_prob, &mut log_sum_exp, &mut entropy)?;
    let forward = fingerprint_of(&gpu, &log_prob)?;
    gpu.log_prob_backward(&mut logits.borrow_mut(), &chosen, shape, 1.0, &log_sum_exp, &upstream, None)?;
    let backward = fingerprint_of(&gpu, &logits.borrow())?;

    let (bytes, dtype) = (bench.width() * elements as f64, bench.dtype());
    let copy = || Row::new(format!("device copy [{rows} x {vocab}] {dtype}"), Amount::Bytes(2.0 * bytes), restore);
    let sizes = |backward| [("rows", rows), ("vocab", vocab), ("backward", backward)];
    let peers = |backward| {
        let case = |name, mode| Case::new(name, "gpu/log_prob.py", mode, &sizes(backward), 1);
        vec![case("PyTorch eager", "eager"), case("PyTorch torch.compile", "compile")]
    };
    let copy_sizes = [("rows", rows), ("vocab", vocab)];
    Group {
        title: "a copy on the device".to_owned(),
        rows: vec![copy()],
        ours: 0,
        light: Light::FirstRow,
        turns,
        peers: vec![Case::new("PyTorch copy_", "gpu/device_copy.py", "eager", &copy_sizes, 1)],
        check: None,
    }
    .run(bench)?;
    Group {
        title: "log-prob, forward".to_owned(),
        rows: vec![
            copy(),
            Row::new("log-prob, log-sum-exp, entropy".to_owned(), Amount::Bytes(bytes), || {
                let out = (&mut log_prob, &mut log_sum_exp, &mut entropy);
                Ok(gpu.log_prob(&given, &chosen, shape, 1.0, out.0, out.1, out.2)?)
            }),
        ],
        ours: 1,
        light: Light::FirstRow,
        turns,
        peers: peers(0),
        check: Some(Check { fingerprints: vec![forward], tolerance: 1e-3 }),
    }
    .run(bench)?;
    let mut work = Row::new("log-prob, backward in place".to_owned(), Amount::Bytes(2.0 * bytes), || {
        Ok(gpu.log_prob_backward(&mut logits.borrow_mut(), &chosen, shape, 1.0, &log_sum_exp, &upstream, None)?)
    });
    work.prepare = Some(Box::new(restore));
    Group {
        title: "log-prob, backward".to_owned(),
        rows: vec![copy(), work],
        ours: 1,
        light: Light::FirstRow,
        turns,
        peers: peers(1),
        check: Some(Check { fingerprints: vec![forward, backward], tolerance: 1e-2 }),
    }
    .run(bench)
}
