//! One training step on a hypergrid in the setting of the GFlowNet benchmark, on one thread. `cargo xtask lab-bench`
//! compares it with a peer.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use flowrl_benches::lab::HypergridCase;
use flowrl_lab::{HypergridOptions, HypergridReward};

fn lab(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lab");
    group.sample_size(20);
    for (dim, side, batch) in [(2, 8, 16), (2, 8, 128), (4, 8, 16), (4, 20, 16)] {
        let options = HypergridOptions { side, dim, reward: HypergridReward::TorchGfn };
        let mut case = HypergridCase::new(options, batch, 1).unwrap();
        group.throughput(Throughput::Elements(batch as u64));
        let name = format!("{dim}D{side}-b{batch}");
        group.bench_function(BenchmarkId::from_parameter(name), |b| b.iter(|| case.step().unwrap()));
    }
    group.finish();
}

criterion_group!(benches, lab);
criterion_main!(benches);
