//! The GFlowNet benchmark: a network learns to draw the points of a grid in proportion to their reward.
//!
//! This example computes the policy's exact distribution over all 64 points, and prints its distance from the target.
//! `cargo run --release -p flowrl-lab --example hypergrid`

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{FlowRl, LogZ, Objective};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::train::{LogZModel, TrainOptions, Trainer};
use flowrl_lab::Environment;
use flowrl_lab::{HeadOptions, Hypergrid, HypergridReward, LabPolicy, LabTask, MlpOptions, Target, terminal};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let grid = Hypergrid::new(8, 2, HypergridReward::TorchGfn)?;
    let target = Target::plain(&grid, 1.0)?;

    // One network gives both the forward and the backward policy. log Z is one number with its own learning rate.
    let mlp = MlpOptions { width: 256, layers: 2 };
    let mut policy = LabPolicy::mlp(CpuBackend::<f32>::new(1), &grid, mlp, HeadOptions::default(), 7)?;
    let objective = Objective::FlowRl(FlowRl::exact_tb().with_log_z(LogZ::Scalar));
    let options = TrainOptions {
        prompts: 1,
        samples: 128,
        max_tokens: grid.max_length(),
        schedule: Schedule { peak: 1e-3, warmup: 0, total: 1, decay: Decay::Constant },
        clip_norm: None,
        log_z_learning_rate: 0.1,
        ..TrainOptions::default()
    };
    let mut trainer = Trainer::new(&policy, objective, options)?;

    let task = LabTask::new(&grid);
    let mut log_probs = vec![0.0; grid.objects()];
    for step in 0..=400 {
        if step % 50 == 0 {
            terminal(&grid, &policy.log_pf_table()?, &mut log_probs)?;
            let measures = target.measure(&log_probs)?;
            let LogZModel::Scalar { state: [log_z, ..] } = trainer.log_z() else { unreachable!("one number") };
            println!(
                "{:6} trajectories  L1 {:.5}  {} of {} modes  log Z {log_z:.4} of {:.4}",
                step * 128,
                measures.l1,
                measures.modes_found,
                measures.modes,
                target.log_z
            );
        }
        trainer.step(&mut policy, &task)?;
    }
    Ok(())
}
