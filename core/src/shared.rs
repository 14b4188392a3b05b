//! Instances of generic code that crates and tests behind this one use, compiled here once. Development builds share them; a release
//! build shares none, and has one user of each.

use crate::backend::CpuBackend;
use crate::lab::{Hypergrid, LabPolicy, Mlp};
use crate::task::Task;
use crate::train::{StepResult, Trainer};

type Policy<T> = LabPolicy<T, Hypergrid, Mlp<T>>;

/// All of a step in single precision.
pub fn step_f32(
    trainer: &mut Trainer<CpuBackend<f32>>,
    policy: &mut Policy<f32>,
    task: &dyn Task,
) -> StepResult<Policy<f32>> {
    trainer.step(policy, task)
}

/// All of a step in double precision.
pub fn step_f64(
    trainer: &mut Trainer<CpuBackend<f64>>,
    policy: &mut Policy<f64>,
    task: &dyn Task,
) -> StepResult<Policy<f64>> {
    trainer.step(policy, task)
}
