//! Instances of generic code that crates and tests behind this one use, compiled here once: see `flowrl_core`'s.

use flowrl_core::backend::CpuBackend;
use flowrl_core::task::Task;
use flowrl_core::train::{StepResult, Trainer};

use crate::TransformerPolicy;

type Policy = TransformerPolicy<CpuBackend<f32>>;

/// All of a step on the CPU.
pub fn step(trainer: &mut Trainer<CpuBackend<f32>>, policy: &mut Policy, task: &dyn Task) -> StepResult<Policy> {
    trainer.step(policy, task)
}
