//! The cases that the harness times.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use flowrl_core::objective::{Objective, Preset};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::policy::Policy;
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lab::{HypergridOptions, HypergridReward};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::countdown::{ProblemSpec, Problems};
use flowrl_lm::task::{Text, TextTask};
use flowrl_lm::{TransformerPolicy, load_policy, load_weights};

use crate::lab::HypergridCase;
use crate::model::{CpuPolicy, Generate, PEER_SHAPE, TrainStep, random_policy};
use crate::objective::ObjectiveCase;
use crate::operations::{LogProbCase, PartitionCase};
use crate::{Cpu, Failure};

/// A configuration of the decoder that PyTorch has too.
pub const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/model.json");
/// The model that is built into `flowrl-cli`.
const EMBEDDED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../cli/model");

/// A case by its name.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Its name in reports and on the command line.
    pub name: &'static str,
    /// Prepares its work on a device.
    pub prepare: fn(Cpu) -> Result<Work, Failure>,
}

/// The prepared work of a case.
#[expect(missing_debug_implementations, reason = "a function has none")]
pub struct Work {
    /// The amount of work of an iteration, in units of its rate.
    pub amount: f64,
    /// The unit of the rate.
    pub unit: &'static str,
    /// Runs one iteration, and returns the seconds of its timed part.
    pub run: Box<dyn FnMut() -> Result<f64, Failure>>,
}

/// Every case. Those whose names start with `random` measure the decoder of [`MODEL`].
pub const CASES: [Case; 15] = [
    Case { name: "objective/paper/512x8192", prepare: objective },
    Case { name: "objective/memory-copy", prepare: memory_copy },
    Case { name: "partition/896", prepare: |cpu| partition(cpu, 896) },
    Case { name: "partition/1536", prepare: |cpu| partition(cpu, 1536) },
    Case { name: "partition/3584", prepare: |cpu| partition(cpu, 3584) },
    Case { name: "log-prob/512x32000", prepare: log_prob },
    Case { name: "train-step/whole", prepare: |cpu| train_step(cpu, true) },
    Case { name: "train-step/learn", prepare: |cpu| train_step(cpu, false) },
    Case { name: "generate/embedded", prepare: |cpu| generate(embedded(cpu)?) },
    Case { name: "random/train-step", prepare: random_train_step },
    Case { name: "random/generate", prepare: |cpu| generate(random_policy(cpu, MODEL.as_ref())?) },
    Case { name: "lab/2D8-b16", prepare: |_| hypergrid(8, 2, 16) },
    Case { name: "lab/2D8-b128", prepare: |_| hypergrid(8, 2, 128) },
    Case { name: "lab/4D8-b16", prepare: |_| hypergrid(8, 4, 16) },
    Case { name: "lab/4D20-b16", prepare: |_| hypergrid(20, 4, 16) },
];

impl Work {
    /// Returns work of which everything is timed.
    fn new<R>(amount: f64, unit: &'static str, mut work: impl FnMut() -> Result<R, Failure> + 'static) -> Self {
        Self { amount, unit, run: Box::new(move || timed(&mut work)) }
    }
}

/// Returns the seconds that `work` takes.
fn timed<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<f64, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed().as_secs_f64())
}

const ROWS: usize = 512;

fn objective(cpu: Cpu) -> Result<Work, Failure> {
    let mut case = ObjectiveCase::new(ROWS / 8, 8, 8192);
    Ok(Work::new(case.bytes() as f64 / 1e9, "GB/s", move || case.run(&cpu)))
}

/// Copies as many bytes as the objective moves, with as many threads.
fn memory_copy(cpu: Cpu) -> Result<Work, Failure> {
    let bytes = 4 * size_of::<f32>() * ROWS * 8192;
    // The copy reads each byte of the source and writes it to the target, so each is half of the total.
    let source = vec![1.0_f32; bytes / 2 / size_of::<f32>()];
    let mut target = vec![0.0; source.len()];
    Ok(Work::new(bytes as f64 / 1e9, "GB/s", move || {
        let part = source.len().div_ceil(cpu.pool().threads());
        let jobs: Vec<_> = source.chunks(part).zip(target.chunks_mut(part)).collect();
        cpu.pool().run(jobs, |(source, target)| target.copy_from_slice(source));
        Ok(())
    }))
}

fn partition(cpu: Cpu, width: usize) -> Result<Work, Failure> {
    const PROMPTS: usize = 64;
    let mut case = PartitionCase::new(&cpu, PROMPTS, width)?;
    Ok(Work::new(PROMPTS as f64, "prompts/s", move || case.run(&cpu)))
}

fn log_prob(cpu: Cpu) -> Result<Work, Failure> {
    const VOCAB: usize = 32_000;
    let mut case = LogProbCase::new(ROWS, VOCAB);
    // The gradient replaces the logits, so this restores them before the clock starts.
    let run = Box::new(move || {
        case.restore();
        timed(|| case.run(&cpu))
    });
    Ok(Work { amount: (ROWS * VOCAB) as f64 / 1e9, unit: "G logits/s", run })
}

/// Prepares 16 prompts × 8 completions with the preset `paper` and AdamW: the whole step, or the part after sampling.
fn train_step(cpu: Cpu, whole: bool) -> Result<Work, Failure> {
    let checkpoint = Checkpoint::open(Path::new(EMBEDDED))?;
    let problems = Arc::new(Problems::generate(&ProblemSpec::default())?);
    let task = TextTask::countdown(Text::of(&checkpoint)?, problems, false)?;
    let mut policy = load_policy(cpu, &checkpoint)?;
    let options = TrainOptions {
        // With this small rate the policy, and so the length of its completions, stays the same.
        schedule: Schedule { peak: 1e-9, warmup: 0, total: u64::MAX, decay: Decay::Constant },
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&policy, Objective::preset(Preset::Paper), options)?;
    let pool = policy.backend().pool().clone();
    let rollouts = pool.enter(|| trainer.collect(&mut policy, &task))?;
    Ok(Work::new((options.prompts * options.samples) as f64, "completions/s", move || {
        pool.enter(|| match whole {
            true => trainer.step(&mut policy, &task).map(|_| ()),
            false => trainer.learn(&mut policy, &rollouts).map(|_| ()),
        })?;
        Ok(())
    }))
}

/// Loads the built-in model without its end token, so that every run draws the same number of tokens.
fn embedded(cpu: Cpu) -> Result<CpuPolicy, Failure> {
    let checkpoint = Checkpoint::open(Path::new(EMBEDDED))?;
    let weights = load_weights(&cpu, &checkpoint)?;
    Ok(TransformerPolicy::new(cpu, checkpoint.config().dims.clone(), weights, Vec::new())?)
}

fn generate(policy: CpuPolicy) -> Result<Work, Failure> {
    let mut case = Generate::new(policy, PEER_SHAPE);
    let drawn = PEER_SHAPE.sequences() * PEER_SHAPE.completion_length;
    Ok(Work::new(drawn as f64, "tokens/s", move || case.run()))
}

fn random_train_step(cpu: Cpu) -> Result<Work, Failure> {
    let mut case = TrainStep::new(random_policy(cpu, MODEL.as_ref())?, PEER_SHAPE)?;
    Ok(Work::new(PEER_SHAPE.sequences() as f64, "completions/s", move || case.run()))
}

/// Prepares training on a hypergrid in the setting of the GFlowNet benchmark, on one thread.
fn hypergrid(side: usize, dim: usize, batch: usize) -> Result<Work, Failure> {
    let options = HypergridOptions { side, dim, reward: HypergridReward::TorchGfn };
    let mut case = HypergridCase::new(options, batch, 1)?;
    Ok(Work::new(batch as f64, "trajectories/s", move || case.step()))
}
