//! Compiles the generic code that other crates and the tests use, once and here. Development builds share these
//! instances; a release build shares none, and uses each instance in one place only.

use flowrl_core::backend::CpuBackend;
use flowrl_core::task::Task;
use flowrl_core::train::{StepResult, Trainer};

use crate::{Hypergrid, LabPolicy, Mlp};

type Policy<T> = LabPolicy<T, Hypergrid, Mlp<T>>;

/// Runs a whole training step in single precision.
pub fn step_f32(
    trainer: &mut Trainer<CpuBackend<f32>>,
    policy: &mut Policy<f32>,
    task: &dyn Task,
) -> StepResult<Policy<f32>> {
    trainer.step(policy, task)
}

/// Runs a whole training step in double precision.
pub fn step_f64(
    trainer: &mut Trainer<CpuBackend<f64>>,
    policy: &mut Policy<f64>,
    task: &dyn Task,
) -> StepResult<Policy<f64>> {
    trainer.step(policy, task)
}
