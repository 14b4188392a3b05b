//! Instances of generic code that dependent crates and tests use, compiled here once: see the module of the
//! same name in `flowrl_lab`.

use flowrl_core::backend::CpuBackend;
use flowrl_core::task::Task;
use flowrl_core::train::{StepResult, Trainer};

use crate::TransformerPolicy;

type Policy = TransformerPolicy<CpuBackend<f32>>;

/// Runs a whole training step on the CPU.
pub fn step(trainer: &mut Trainer<CpuBackend<f32>>, policy: &mut Policy, task: &dyn Task) -> StepResult<Policy> {
    trainer.step(policy, task)
}
