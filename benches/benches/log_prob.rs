//! Log-probability of the chosen token over [512 × 32000] logits, and its gradient in place of the logits.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowrl_benches::Cpu;
use flowrl_benches::operations::LogProbCase;

const ROWS: usize = 512;
const VOCAB: usize = 32_000;

fn log_prob(criterion: &mut Criterion) {
    let cpu = Cpu::new(0);
    let mut case = LogProbCase::new(ROWS, VOCAB);
    let mut group = criterion.benchmark_group("log-prob");
    group.sample_size(50).throughput(Throughput::Elements((ROWS * VOCAB) as u64));
    group.bench_function(BenchmarkId::from_parameter(format!("{ROWS}x{VOCAB}")), |b| {
        // The gradient replaces the logits, so this restores them before the clock starts.
        b.iter_custom(|iterations| {
            let run = |_| {
                case.restore();
                let start = Instant::now();
                case.run(&cpu).unwrap();
                start.elapsed()
            };
            (0..iterations).map(run).sum::<Duration>()
        });
    });
    group.finish();
}

criterion_group!(benches, log_prob);
criterion_main!(benches);
