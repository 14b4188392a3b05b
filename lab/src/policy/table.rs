//! A policy with one logit per state and output.

use alloc::vec;
use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_core::kernel::lanes;
use flowrl_core::parameter::Parameter;

use super::network::{Inputs, Network, reserve};

/// A table of logits (states, outputs). This table starts at 0, so every legal action is equally likely.
#[derive(Debug)]
pub struct Table<T: Real> {
    outputs: usize,
    logits: [Parameter<CpuBackend<T>>; 1],
}

impl<T: Real> Table<T> {
    /// Creates a table of zeros.
    pub fn new(backend: &CpuBackend<T>, states: usize, outputs: usize) -> Result<Self, CpuError> {
        let zeros = vec![T::zero(); states * outputs];
        Ok(Self { outputs, logits: [Parameter::new(backend, "table".into(), &zeros)?] })
    }
}

impl<T: Real> Network<T> for Table<T> {
    fn forward(&self, inputs: &Inputs<'_, T>, _hidden: &mut Vec<Vec<T>>, logits: &mut Vec<T>) -> Result<(), CpuError> {
        reserve(logits, inputs.states.len() * self.outputs);
        for (row, &state) in logits.chunks_exact_mut(self.outputs).zip(inputs.states) {
            let start = state as usize * self.outputs;
            row.copy_from_slice(&self.logits[0].value[start..start + self.outputs]);
        }
        Ok(())
    }

    fn backward(&mut self, inputs: &Inputs<'_, T>, _hidden: &[Vec<T>], d_logits: &Vec<T>) -> Result<(), CpuError> {
        for (row, &state) in d_logits.chunks_exact(self.outputs).zip(inputs.states) {
            let start = state as usize * self.outputs;
            lanes::axpy(T::one(), row, &mut self.logits[0].grad[start..start + self.outputs]);
        }
        Ok(())
    }

    fn hidden_widths(&self) -> &[usize] {
        &[]
    }

    fn parameters(&self) -> &[Parameter<CpuBackend<T>>] {
        &self.logits
    }

    fn parameters_mut(&mut self) -> &mut [Parameter<CpuBackend<T>>] {
        &mut self.logits
    }
}
