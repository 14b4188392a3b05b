//! Scoring, and the [`Policy`] implementation for the training loop.

use alloc::vec::Vec;

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, check_len};
use flowrl_core::optim::AdamWStep;
use flowrl_core::parameter;
use flowrl_core::policy::{Completions, Graph, Model, Policy, SampleRequest, Scores, Sequences};

use super::memo::NONE;
use super::path::{Path, Step, check_prompts, check_temperature};
use super::{LabPolicy, Network, PolicyError};
use crate::Environment;

impl<T: Real, E: Environment, N: Network<T>> LabPolicy<T, E, N> {
    /// Reads log-probabilities and entropies along a path. All its states must have rows.
    fn read(&self, path: &Path) -> Scores<T> {
        let of = |step: &Step| {
            let row = self.memo.row(step.state);
            let log_prob = self.memo.rows.log_forward[row * self.heads.actions + step.action as usize];
            (log_prob, self.memo.rows.entropy[row])
        };
        let (log_probs, entropies) = path.steps.iter().map(of).unzip();
        Scores { log_probs, entropies }
    }

    /// Follows the completions and evaluates every state on the way.
    fn visit(&mut self, mut path: Path, sequences: &Sequences<'_>, temperature: f64) -> Result<Path, PolicyError> {
        check_temperature(temperature, temperature > 0.0)?;
        path.temperature = temperature;
        path.walk(&self.environment, sequences)?;
        let (memo, evaluator) = self.parts();
        memo.ensure(&evaluator, temperature, path.states())?;
        Ok(path)
    }

    /// Computes log π_ref and the entropy of the reference along a path.
    fn reference(&self, path: &Path) -> Result<Scores<T>, PolicyError> {
        if self.heads.parents > 0 {
            return Err(PolicyError::NoReference);
        }
        let of = |step: &Step| {
            let state = step.state as usize;
            let legal = (0..self.heads.actions).filter(|&a| self.environment.step(state, a).is_some());
            let term = |l: f64| if l > f64::NEG_INFINITY { -libm::exp(l) * l } else { 0.0 };
            let entropy = T::of(legal.map(|a| term(self.environment.log_reference(state, a))).sum());
            (T::of(self.environment.log_reference(state, step.action as usize)), entropy)
        };
        let (log_probs, entropies) = path.steps.iter().map(of).unzip();
        Ok(Scores { log_probs, entropies })
    }
}

impl<T: Real, E: Environment, N: Network<T>> Policy for LabPolicy<T, E, N> {
    type Backend = CpuBackend<T>;
    type Error = PolicyError;

    fn backend(&self) -> &CpuBackend<T> {
        &self.backend
    }

    fn width(&self) -> usize {
        1
    }

    /// The representation of the only prompt is the constant 1.
    fn represent(&mut self, prompts: &[&[u32]], out: &mut Vec<T>) -> Result<(), PolicyError> {
        check_prompts(prompts)?;
        check_len("out", out.len(), prompts.len())?;
        out[..prompts.len()].fill(T::one());
        Ok(())
    }

    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<T>, PolicyError> {
        self.draw(request)
    }

    fn score(&mut self, sequences: &Sequences<'_>, model: Model, temperature: f64) -> Result<Scores<T>, PolicyError> {
        let mut path = core::mem::take(&mut self.scored);
        let scores = if model == Model::Reference {
            path.walk(&self.environment, sequences)?;
            self.reference(&path)?
        } else {
            path = self.visit(path, sequences, temperature)?;
            self.read(&path)
        };
        self.scored = path;
        Ok(scores)
    }

    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        representation: Option<&mut Vec<T>>,
    ) -> Result<Scores<T>, PolicyError> {
        if let Some(out) = representation {
            self.represent(sequences.prompts, out)?;
        }
        (self.d_log_backward, self.d_log_flows) = (None, None);
        let path = core::mem::take(&mut self.last);
        let path = self.visit(path, sequences, temperature)?;
        let scores = self.read(&path);
        let Self { environment, memo, heads, log_backward, log_flows, .. } = self;
        log_backward.clear();
        log_flows.clear();
        for step in &path.steps {
            log_backward.push(match step.parent {
                _ if heads.parents == 0 => T::of(environment.log_reference(step.state as usize, step.action as usize)),
                NONE => T::zero(),
                k => memo.rows.log_backward[memo.row(step.next) * heads.parents + k as usize],
            });
            if heads.flows {
                log_flows.push(memo.rows.log_flow[memo.row(step.state)]);
            }
        }
        self.last = path;
        Ok(scores)
    }

    /// The representation is a constant, so its gradient is dropped.
    fn backward(
        &mut self,
        d_log_probs: &[T],
        d_entropies: Option<&[T]>,
        _d_representation: Option<&Vec<T>>,
    ) -> Result<(), PolicyError> {
        self.propagate(d_log_probs, d_entropies)
    }

    fn graph(&mut self) -> Option<&mut dyn Graph<T>> {
        (self.heads.parents > 0 || self.heads.flows).then_some(self as &mut dyn Graph<T>)
    }

    fn grad_norm(&mut self) -> Result<f64, PolicyError> {
        Ok(parameter::grad_norm(&self.backend, self.network.parameters())?)
    }

    fn update(&mut self, step: &AdamWStep) -> Result<(), PolicyError> {
        self.forget();
        Ok(parameter::update(&self.backend, self.network.parameters_mut(), step)?)
    }

    fn zero_grad(&mut self) -> Result<(), PolicyError> {
        Ok(parameter::zero_grad(&self.backend, self.network.parameters_mut())?)
    }
}

impl<T: Real, E: Environment, N: Network<T>> Graph<T> for LabPolicy<T, E, N> {
    fn log_backward(&self) -> &[T] {
        &self.log_backward
    }

    fn log_flows(&self) -> Option<&[T]> {
        self.heads.flows.then_some(&self.log_flows)
    }

    fn set_gradient(&mut self, d_log_backward: &[T], d_log_flows: Option<&[T]>) {
        self.d_log_backward = Some(d_log_backward.to_vec());
        self.d_log_flows = d_log_flows.map(<[T]>::to_vec);
    }
}
