//! Training on hypergrids in the setting of the GFlowNet benchmark, see `benches/peers/gfnx/README.md`.

use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{FlowRl, LogZ, Objective};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lab::{
    Environment, HeadOptions, Hypergrid, HypergridOptions, LabPolicy, LabTask, Mlp, MlpOptions, Target, terminal,
};

use crate::{Cpu, Failure};

/// Trajectory balance on one thread in f32, with an MLP of two hidden layers of 256, a learned backward policy, Adam
/// with rate 1e-3 and a rate of 0.1 for log Z.
#[derive(Debug)]
pub struct HypergridCase {
    grid: Hypergrid,
    policy: LabPolicy<f32, Hypergrid, Mlp<f32>>,
    trainer: Trainer<Cpu>,
    task: LabTask<Hypergrid>,
}

impl HypergridCase {
    /// Creates the case before training.
    ///
    /// # Errors
    /// Returns an error if the options of the grid are out of range.
    pub fn new(options: HypergridOptions, batch: usize, seed: u64) -> Result<Self, Failure> {
        let grid = Hypergrid::from_options(options)?;
        let (mlp, heads) = (MlpOptions { width: 256, layers: 2 }, HeadOptions::default());
        let policy = LabPolicy::mlp(CpuBackend::new(1), grid.clone(), mlp, heads, seed)?;
        let objective = Objective::FlowRl(FlowRl::exact_tb().with_log_z(LogZ::Scalar));
        let options = TrainOptions {
            prompts: 1,
            samples: batch,
            max_tokens: grid.max_length(),
            schedule: Schedule { peak: 1e-3, warmup: 0, total: 1, decay: Decay::Constant },
            clip_norm: None,
            log_z_learning_rate: 0.1,
            seed,
            ..TrainOptions::default()
        };
        let trainer = Trainer::new(&policy, objective, options)?;
        Ok(Self { task: LabTask::new(grid.clone()), grid, policy, trainer })
    }

    /// Returns the number of trained weights of the network.
    pub fn parameters(&self) -> usize {
        self.policy.weights()
    }

    /// Runs one iteration: samples a batch and takes one step down its loss.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.trainer.step(&mut self.policy, &self.task)?;
        Ok(())
    }

    /// Returns the exact distance Σ |p(x) − R(x)/Z|.
    ///
    /// # Errors
    /// Returns an error if a log-probability is not finite.
    pub fn l1(&mut self) -> Result<f64, Failure> {
        let mut log_probs = vec![0.0; self.grid.objects()];
        terminal(&self.grid, &self.policy.log_pf_table()?, &mut log_probs)?;
        Ok(Target::plain(&self.grid, 1.0)?.measure(&log_probs)?.l1)
    }
}
