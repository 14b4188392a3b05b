//! Trains a policy that matches its rewards, for several β: `cargo run --release -p flowrl-lab --example bandit`
//!
//! The task has 64 answers in four peaks of reward 1, 0.9, 0.75 and 0.5. A maximiser converges to the first peak,
//! whereas FlowRL converges to π_ref·exp(βr)/Z. This target is known here, so the printed distance is exact: TV is
//! between 0 and 1.

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{FlowRl, LogZ, Objective};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lab::{Bandit, BanditOptions, BanditPreset, HeadOptions, LabPolicy, LabTask, Target, terminal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bandit = Bandit::preset(BanditOptions { preset: BanditPreset::FourPeaks, ..BanditOptions::default() })?;
    let task = LabTask::new(bandit.clone());
    for beta in [0.5, 2.0, 5.0, 10.0, 20.0] {
        // The policy has one logit per answer, and log Z is one number.
        let cpu = CpuBackend::<f64>::reference();
        let mut policy = LabPolicy::table(cpu.clone(), bandit.clone(), HeadOptions::default())?;
        let objective = Objective::FlowRl(FlowRl::exact_tb().with_beta(beta).with_log_z(LogZ::Scalar));
        let schedule = Schedule { peak: 0.05, warmup: 0, total: 2000, decay: Decay::Cosine };
        let options = TrainOptions { prompts: 1, samples: 64, max_tokens: 1, schedule, ..TrainOptions::default() };
        let mut trainer = Trainer::new(&policy, objective, TrainOptions { log_z_learning_rate: 0.05, ..options })?;
        for _ in 0..2000 {
            trainer.step(&mut policy, &task)?;
        }
        let (target, mut learned) = (Target::plain(&bandit, beta)?, vec![0.0; 64]);
        terminal(&bandit, &policy.log_pf_table()?, &mut learned)?;
        let found = target.measure(&learned)?;
        println!("β {beta:4}  TV {:.6}  reward {:.4}  entropy {:.4}", found.tv, found.expected_reward, found.entropy);
    }
    Ok(())
}
