//! Training on hypergrids in the setting of the GFlowNet benchmarks: MLP 256×2, learned backward policy, Adam 1e-3, log Z rate 0.1.

use flowrl_core::backend::CpuBackend;
use flowrl_core::lab::{Environment, HeadOptions, Hypergrid, HypergridReward, LabPolicy, Mlp, MlpOptions, Outcome};
use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset};
use flowrl_core::optim::{Decay, Schedule};
use flowrl_core::policy::Policy;
use flowrl_core::task::{Judgement, Task};
use flowrl_core::train::{TrainOptions, Trainer};

use crate::Failure;

struct Stop(Hypergrid);
impl Task for Stop {
    fn prompts(&self) -> usize {
        1
    }
    fn prompt(&self, _: usize) -> &[u32] {
        &[0]
    }
    fn judge(&self, _: usize, completion: &[u32], _: bool) -> Judgement {
        let mut s = 0;
        for &a in completion {
            match self.0.step(s, a as usize) {
                Some(Outcome::State(n)) => s = n,
                Some(Outcome::Object(o)) => return Judgement { reward: self.0.reward(o), verdict: "other" },
                None => break,
            }
        }
        Judgement { reward: 0.0, verdict: "unfinished" }
    }
}

/// One row of the benchmark.
pub struct Case {
    policy: LabPolicy<f32, Hypergrid, Mlp<f32>>,
    trainer: Trainer<CpuBackend<f32>>,
    task: Stop,
    /// target
    pub target: Vec<f64>,
}

impl Case {
    /// A grid of `dim` dimensions and `side` points in each.
    pub fn new(dim: usize, side: usize, batch: usize, reward: HypergridReward, seed: u64) -> Result<Self, Failure> {
        let grid = Hypergrid::new(side, dim, reward)?;
        let policy =
            LabPolicy::mlp(CpuBackend::new(1), grid.clone(), MlpOptions::default(), HeadOptions::default(), seed)?;
        let objective = Objective::FlowRl(FlowRl { log_z: LogZ::Scalar, ..Preset::ExactTb.options() });
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
        let trainer = Trainer::new::<flowrl_core::lab::PolicyError>(policy.backend(), 1, objective, options)?;
        let mut target: Vec<f64> = (0..grid.objects()).map(|x| grid.reward(x).exp()).collect();
        let z: f64 = target.iter().sum();
        target.iter_mut().for_each(|t| *t /= z);
        Ok(Self { policy, trainer, task: Stop(grid), target })
    }
    /// One step.
    pub fn step(&mut self) -> Result<f64, Failure> {
        let (r, _) = self.trainer.step(&mut self.policy, &self.task)?;
        Ok(r.completions.tokens.len() as f64)
    }
    /// L1.
    pub fn l1(&mut self) -> Result<f64, Failure> {
        let l = self.policy.log_pf_table()?;
        let g = &self.task.0;
        let a = g.actions();
        let mut mass = vec![0.0; g.states()];
        mass[0] = 1.0;
        let mut out = vec![0.0; g.objects()];
        for s in 0..g.states() {
            for k in 0..a {
                let p = mass[s] * f64::from(l[s * a + k]).exp();
                match g.step(s, k) {
                    Some(Outcome::State(n)) => mass[n] += p,
                    Some(Outcome::Object(o)) => out[o] += p,
                    None => {}
                }
            }
        }
        Ok(out.iter().zip(&self.target).map(|(a, b)| (a - b).abs()).sum())
    }
}
