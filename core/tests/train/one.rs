//! A policy in single precision with a single completion, which is always drawn and never trained. This isolates the
//! quantities that are learned outside the policy.

use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_core::optim::AdamWStep;
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Scores, ScoresOf, Sequences};

pub(crate) struct One(pub(crate) CpuBackend<f32>);

impl Policy for One {
    type Backend = CpuBackend<f32>;
    type Error = CpuError;

    fn backend(&self) -> &CpuBackend<f32> {
        &self.0
    }

    fn width(&self) -> usize {
        1
    }

    fn represent(&mut self, _: &[&[u32]], out: &mut Vec<f32>) -> Result<(), CpuError> {
        out.fill(1.0);
        Ok(())
    }

    fn sample(&mut self, _: &SampleRequest<'_>) -> Result<Completions<f32>, CpuError> {
        let (prompt_of, offsets, tokens) = (vec![0], vec![0, 1], vec![0]);
        Ok(Completions {
            prompt_of,
            offsets,
            tokens,
            log_probs: vec![-0.3],
            entropies: vec![0.1],
            ended: vec![true],
            excluded: Vec::new(),
        })
    }

    fn score(&mut self, _: &Sequences<'_>, _: Model, _: f64) -> ScoresOf<Self> {
        Ok(Scores { log_probs: vec![-0.3], entropies: vec![0.0] })
    }

    fn forward(&mut self, sequences: &Sequences<'_>, temperature: f64, _: Option<&mut Vec<f32>>) -> ScoresOf<Self> {
        self.score(sequences, Model::Policy, temperature)
    }

    fn backward(&mut self, _: &[f32], _: Option<&[f32]>, _: Option<&Vec<f32>>) -> Result<(), CpuError> {
        Ok(())
    }

    fn grad_norm(&mut self) -> Result<f64, CpuError> {
        Ok(0.0)
    }

    fn update(&mut self, _: &AdamWStep) -> Result<(), CpuError> {
        Ok(())
    }

    fn zero_grad(&mut self) -> Result<(), CpuError> {
        Ok(())
    }
}
