//! The partition network on 64 prompts, forward and backward, at the widths of Qwen2.5 0.5B, 1.5B and 7B.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowrl_benches::Cpu;
use flowrl_benches::operations::PartitionCase;

const PROMPTS: usize = 64;

fn partition(criterion: &mut Criterion) {
    let cpu = Cpu::new(0);
    let mut group = criterion.benchmark_group("partition");
    group.sample_size(20).throughput(Throughput::Elements(PROMPTS as u64));
    for width in [896, 1536, 3584] {
        let mut case = PartitionCase::new(&cpu, PROMPTS, width).unwrap();
        group.bench_function(BenchmarkId::from_parameter(width), |b| b.iter(|| case.run(&cpu).unwrap()));
    }
    group.finish();
}

criterion_group!(benches, partition);
criterion_main!(benches);
