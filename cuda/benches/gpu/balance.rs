//! Loss and gradient of trajectory balance. Each token needs 16 bytes of memory traffic: three log-probabilities are
//! read and one gradient is written.

use std::cell::{Cell, RefCell};

use flowrl_core::backend::{Backend, Role};
use flowrl_core::objective::{Objective, Preset};
use flowrl_cuda::objective::{DeviceBatch, DeviceGradients, DeviceSequences};
use flowrl_cuda::{Buffer, CudaBackend};

use crate::group::{Amount, Check, Group, Light, Row};
use crate::inputs::{fingerprint, fingerprint_of, numbers, table, tile};
use crate::peer::Case;
use crate::{Bench, Failure};

/// Number of batches that the calls cycle through, so that no cache holds the inputs of a call.
const BATCHES: usize = 4;
const CALLS: u32 = 20;

/// The inputs of one batch.
struct Given {
    log_probs: Buffer,
    reference: Buffer,
    old: Buffer,
    advantages: Buffer,
    log_z: Buffer,
}

impl Given {
    fn new(gpu: &CudaBackend, i: usize, sequences: usize, tokens: usize) -> Result<Self, Failure> {
        let log_probs = table(&format!("log_probs {i}"), 2.0, -1.0);
        let buffer = |period: &[f32]| {
            let mut buffer = gpu.zeros(sequences * tokens)?;
            tile(gpu, &mut buffer, 0, sequences * tokens, period)?;
            Ok::<_, Failure>(buffer)
        };
        let near = |name: &str, distance| {
            let other = table(&format!("{name} {i}"), distance, 0.0);
            buffer(&log_probs.iter().zip(other).map(|(x, other)| x + other).collect::<Vec<_>>())
        };
        let of_sequences = |name: &str| numbers(gpu, Role::State, &format!("{name} {i}"), sequences, 2.0);
        Ok(Self {
            reference: near("reference", 2_f64.powi(-5))?,
            old: near("old", 2_f64.powi(-9))?,
            advantages: of_sequences("advantages")?,
            log_z: of_sequences("log_z")?,
            log_probs: buffer(&log_probs)?,
        })
    }

    const fn batch<'a>(&'a self, sequences: &'a DeviceSequences) -> DeviceBatch<'a> {
        DeviceBatch {
            sequences,
            advantages: &self.advantages,
            log_probs: &self.log_probs,
            ref_log_probs: Some(&self.reference),
            old_log_probs: Some(&self.old),
            rollout_log_probs: None,
            entropies: None,
            log_z: Some(&self.log_z),
            masks: None,
        }
    }
}

pub(crate) fn run(bench: &mut Bench) -> Result<(), Failure> {
    let (gpu, turns, (sequences, tokens)) = (bench.gpu.clone(), bench.sizes.turns, bench.sizes.batch);
    let offsets: Vec<usize> = (0..=sequences).map(|i| i * tokens).collect();
    let groups: Vec<usize> = (0..sequences).map(|i| i / 8).collect();
    let layout = DeviceSequences::new(&gpu, &offsets, &groups)?;
    let objective = Objective::preset(Preset::Paper);
    let given = (0..BATCHES).map(|i| Given::new(&gpu, i, sequences, tokens)).collect::<Result<Vec<_>, _>>()?;
    let gradients = RefCell::new(DeviceGradients::new(&gpu, &layout)?);
    let totals = layout.totals();
    let loss = gpu.device_evaluate(&objective, &given[0].batch(&layout), totals, &mut gradients.borrow_mut())?.loss;
    let check = {
        let gradients = gradients.borrow();
        let of = |buffer| fingerprint_of(&gpu, buffer);
        vec![fingerprint(&[loss as f32]), of(&gradients.d_log_probs)?, of(&gradients.d_log_z)?]
    };

    let bytes = 16.0 * (sequences * tokens) as f64;
    let next = Cell::new(0);
    let row = |name: &str, waits: bool| {
        let (gpu, objective, given, layout, gradients, next) = (&gpu, &objective, &given, &layout, &gradients, &next);
        let mut row = Row::new(name.to_owned(), Amount::Bytes(bytes), move || {
            let batch = given[next.replace((next.get() + 1) % BATCHES)].batch(layout);
            let out = &mut gradients.borrow_mut();
            match waits {
                true => gpu.device_evaluate(objective, &batch, totals, out).map(|_| ())?,
                false => gpu.device_gradients(objective, &batch, totals, out)?,
            }
            Ok(())
        });
        row.calls = CALLS;
        row
    };
    let peer = |name, mode| {
        let sizes = [("sequences", sequences), ("tokens", tokens), ("batches", BATCHES)];
        Case::new(name, "gpu/tb.py", mode, &sizes, CALLS)
    };
    Group {
        title: format!("trajectory balance, loss + gradient [{sequences} x {tokens}] f32"),
        rows: vec![
            row("ours, metrics left on the device", false),
            row("ours, each call copies the metrics to the host", true),
        ],
        ours: 0,
        light: Light::Seconds(bench.rates.light(0.0, bytes)),
        turns,
        peers: vec![
            peer("PyTorch eager", "eager"),
            peer("PyTorch torch.compile", "compile"),
            peer("PyTorch torch.compile in a CUDA graph", "graph"),
        ],
        check: Some(Check { fingerprints: check, tolerance: 1e-4 }),
    }
    .run(bench)
}
