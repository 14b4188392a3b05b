//! CPU time.
use flowrl_benches::lab::Case;
use flowrl_core::lab::HypergridReward;

fn cpu() -> f64 {
    std::fs::read_to_string("/proc/self/schedstat").unwrap().split_whitespace().next().unwrap().parse::<f64>().unwrap()
        / 1e6
}

fn main() {
    for (d, h, b, n) in [(2, 8, 16, 1000), (2, 8, 128, 300), (4, 8, 16, 500), (4, 20, 16, 300)] {
        let mut case = Case::new(d, h, b, HypergridReward::Easy, 111).unwrap();
        for _ in 0..50 {
            case.step().unwrap();
        }
        let start = cpu();
        let mut tokens = 0.0;
        for _ in 0..n {
            tokens += case.step().unwrap();
        }
        println!("{d}D{h} b{b}: {:.3} ms/iter, {:.1} tokens", (cpu() - start) / n as f64, tokens / n as f64);
    }
    if std::env::args().count() > 1 {
        for seed in [1, 2, 3] {
            let mut case = Case::new(2, 8, 128, HypergridReward::TorchGfn, seed).unwrap();
            for i in 1..=400 {
                case.step().unwrap();
                if i % 20 == 0 {
                    println!("seed {seed} traj {} L1 {:.5}", i * 128, case.l1().unwrap());
                }
            }
        }
    }
}
