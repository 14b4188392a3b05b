//! The model embedded in `flowrl-cli`, on Countdown: one training step as in a run, and sampling alone.

use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flowrl_benches::Cpu;
use flowrl_benches::model::{Generate, PEER_SHAPE};
use flowrl_cli::session::open_model;
use flowrl_core::objective::{Objective, Preset};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::policy::Policy;
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lm::countdown::{ProblemSpec, Problems};
use flowrl_lm::model::Dimensions;
use flowrl_lm::task::{Text, TextTask};
use flowrl_lm::{TransformerPolicy, load_policy, load_weights};

/// Measures 16 prompts × 8 completions with the preset `paper` and AdamW: the whole step, and the part after sampling.
fn train_step(criterion: &mut Criterion) {
    let checkpoint = open_model(None).unwrap();
    let problems = Arc::new(Problems::generate(&ProblemSpec::default()).unwrap());
    let task = TextTask::countdown(Text::of(&checkpoint).unwrap(), problems, false).unwrap();
    let mut policy = load_policy(Cpu::new(0), &checkpoint).unwrap();
    let options = TrainOptions {
        // With this small rate the policy, and so the length of its completions, stays the same.
        schedule: Schedule { peak: 1e-9, warmup: 0, total: u64::MAX, decay: Decay::Constant },
        ..TrainOptions::default()
    };
    let objective = Objective::preset(Preset::Paper);
    let mut trainer = Trainer::new(&policy, objective, options).unwrap();
    let pool = policy.backend().pool().clone();
    let rollouts = pool.enter(|| trainer.collect(&mut policy, &task)).unwrap();

    let mut group = criterion.benchmark_group("train-step");
    group.sample_size(20).throughput(Throughput::Elements((options.prompts * options.samples) as u64));
    group.bench_function("whole", |b| {
        b.iter(|| pool.enter(|| trainer.step(&mut policy, &task)).unwrap());
    });
    group.bench_function("learn", |b| {
        b.iter(|| pool.enter(|| trainer.learn(&mut policy, &rollouts)).unwrap());
    });
    group.finish();
}

/// Measures 16 prompts × 8 completions of 14 tokens each. The end token is ignored, so that every run draws the same
/// number of tokens.
fn generate(criterion: &mut Criterion) {
    let checkpoint = open_model(None).unwrap();
    let cpu = Cpu::new(0);
    let weights = load_weights(&cpu, &checkpoint).unwrap();
    let policy = TransformerPolicy::new(cpu, Dimensions::from(checkpoint.config()), weights, Vec::new()).unwrap();
    let mut case = Generate::new(policy, PEER_SHAPE);
    let drawn = PEER_SHAPE.sequences() * PEER_SHAPE.completion_length;

    let mut group = criterion.benchmark_group("generate");
    group.sample_size(20).throughput(Throughput::Elements(drawn as u64));
    group.bench_function("embedded", |b| b.iter(|| case.run().unwrap()));
    group.finish();
}

criterion_group!(benches, train_step, generate);
criterion_main!(benches);
