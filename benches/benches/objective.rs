//! The FlowRL loss over [512 × 8192] log-probabilities, compared with a memory copy of the same number of bytes on the
//! same number of threads.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowrl_benches::Cpu;
use flowrl_benches::objective::ObjectiveCase;

fn objective(criterion: &mut Criterion) {
    let cpu = Cpu::new(0);
    let mut case = ObjectiveCase::new(64, 8, 8192);
    let bytes = case.bytes();
    // The copy reads each byte of the source and writes it to the target, so each is half of the total.
    let source = vec![1.0_f32; bytes / 2 / size_of::<f32>()];
    let mut target = vec![0.0; source.len()];

    let mut group = criterion.benchmark_group("objective");
    group.throughput(Throughput::BytesDecimal(bytes as u64));
    group.bench_function(BenchmarkId::new("paper", "512x8192"), |b| b.iter(|| case.run(&cpu).unwrap()));
    group.bench_function(BenchmarkId::new("memory-copy", bytes), |b| b.iter(|| copy(&cpu, &source, &mut target)));
    group.finish();
}

fn copy(cpu: &Cpu, source: &[f32], target: &mut [f32]) {
    let part = source.len().div_ceil(cpu.pool().threads());
    let jobs: Vec<_> = source.chunks(part).zip(target.chunks_mut(part)).collect();
    cpu.pool().run(jobs, |(source, target)| target.copy_from_slice(source));
}

criterion_group!(benches, objective);
criterion_main!(benches);
