//! Training on hypergrids in the setting of the GFlowNet benchmark: see `benches/peers/gfnx/README.md`.

use flowrl_core::backend::CpuBackend;
use flowrl_core::lab::{
    Environment, HeadOptions, Hypergrid, HypergridOptions, LabPolicy, LabTask, Mlp, MlpOptions, PolicyError, Target,
    terminal,
};
use flowrl_core::objective::{FlowRl, LogZ, Objective};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::policy::Policy;
use flowrl_core::train::{TrainOptions, Trainer};

use crate::{Cpu, Failure};

/// Trajectory balance on one thread in f32: MLP 256×2, learned backward policy, Adam 1e-3, rate of log Z 0.1.
#[derive(Debug)]
pub struct HypergridCase {
    grid: Hypergrid,
    policy: LabPolicy<f32, Hypergrid, Mlp<f32>>,
    trainer: Trainer<Cpu>,
    task: LabTask<Hypergrid>,
}

impl HypergridCase {
    /// Before training.
    ///
    /// # Errors
    /// A grid that is none.
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
        let trainer = Trainer::new::<PolicyError>(policy.backend(), policy.width(), objective, options)?;
        Ok(Self { task: LabTask::new(grid.clone()), grid, policy, trainer })
    }

    /// Trained numbers of the network.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.policy.weights()
    }

    /// One iteration: sample a batch, and one step down its loss.
    ///
    /// # Errors
    /// Where training failed.
    pub fn step(&mut self) -> Result<(), Failure> {
        self.trainer.step(&mut self.policy, &self.task)?;
        Ok(())
    }

    /// Σ |p(x) − R(x)/Z|, exact.
    ///
    /// # Errors
    /// Where a log-probability is not finite.
    pub fn l1(&mut self) -> Result<f64, Failure> {
        let mut log_probs = vec![0.0; self.grid.objects()];
        terminal(&self.grid, &self.policy.log_pf_table()?, &mut log_probs)?;
        Ok(Target::plain(&self.grid, 1.0)?.measure(&log_probs)?.l1)
    }
}
