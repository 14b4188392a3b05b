//! Tests that the training loop evaluates its objective on the policy's device.

use crate::common::{Tolerance, assert_close, emulated, normals};
use flowrl_core::backend::{Backend, CpuBackend};
use flowrl_core::objective::{Objective, Preset};
use flowrl_core::optim::AdamWStep;
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Scores, ScoresOf, Sequences};
use flowrl_core::task::Judgement;
use flowrl_core::train::{Metrics, Rollouts, TrainError, TrainOptions, Trainer};
use flowrl_cuda::{CudaBackend, EmulatorOptions, Error, Precision, Schedule};

/// A policy with given log-probabilities that records the gradient it receives.
struct Given<B> {
    backend: B,
    log_probs: Vec<f32>,
    /// Gradient of the log-probabilities, followed by that of the entropies if the loss has them.
    gradient: Vec<f64>,
}

impl<B: Backend<Real = f32>> Policy for Given<B> {
    type Backend = B;
    type Error = B::Error;

    fn backend(&self) -> &B {
        &self.backend
    }
    fn width(&self) -> usize {
        4
    }
    fn represent(&mut self, prompts: &[&[u32]], out: &mut B::Buffer) -> Result<(), B::Error> {
        self.backend.write(out, 0, &normals(3, 4 * prompts.len()))
    }
    fn sample(&mut self, _: &SampleRequest<'_>) -> Result<Completions<f32>, B::Error> {
        unreachable!("rollouts are given")
    }
    fn score(&mut self, sequences: &Sequences<'_>, _: Model, _: f64) -> ScoresOf<Self> {
        let tokens = sequences.tokens();
        Ok(Scores { log_probs: vec![-1.0; tokens], entropies: vec![0.0; tokens] })
    }
    fn forward(&mut self, sequences: &Sequences<'_>, _: f64, representation: Option<&mut B::Buffer>) -> ScoresOf<Self> {
        representation.map_or(Ok(()), |out| self.represent(sequences.prompts, out))?;
        Ok(Scores { log_probs: self.log_probs.clone(), entropies: self.log_probs.iter().map(|l| -l).collect() })
    }
    fn backward(
        &mut self,
        d_log_probs: &[f32],
        d_entropies: Option<&[f32]>,
        _: Option<&B::Buffer>,
    ) -> Result<(), B::Error> {
        self.gradient = d_log_probs.iter().chain(d_entropies.into_iter().flatten()).map(|&d| f64::from(d)).collect();
        Ok(())
    }
    fn grad_norm(&mut self) -> Result<f64, B::Error> {
        Ok(1.0)
    }
    fn update(&mut self, _: &AdamWStep) -> Result<(), B::Error> {
        Ok(())
    }
    fn zero_grad(&mut self) -> Result<(), B::Error> {
        Ok(())
    }
}

/// Takes one step over four completions of two prompts. Returns the gradient of each token and the metrics.
fn learn<B: Backend<Real = f32>>(
    backend: B,
    objective: Objective,
) -> Result<(Vec<f64>, Metrics), TrainError<B::Error>> {
    let log_probs: Vec<f32> = normals(1, 10).iter().map(|x| -x.abs()).collect();
    let completions = Completions {
        prompt_of: vec![0, 0, 1, 1],
        offsets: vec![0, 3, 4, 9, 10],
        tokens: vec![0; 10],
        log_probs: log_probs.iter().zip(normals(2, 10)).map(|(l, x)| l + 0.1 * x).collect(),
        entropies: vec![0.0; 10],
        excluded: Vec::new(),
        ended: vec![true; 4],
    };
    let rollouts = Rollouts {
        prompt_numbers: vec![0, 1],
        prompts: vec![vec![0], vec![1]],
        completions,
        judgements: [1.0, 0.0, 0.5, 0.25].map(|reward| Judgement::new(reward, "")).to_vec(),
        ..Rollouts::default()
    };
    let mut policy = Given { backend, log_probs, gradient: Vec::new() };
    let mut trainer = Trainer::new(&policy, objective, TrainOptions::default())?;
    let metrics = trainer.learn(&mut policy, &rollouts)?;
    Ok((policy.gradient, metrics))
}

#[test]
fn a_step_is_that_of_the_cpu() {
    let grpo = Preset::Grpo.policy_gradient().unwrap();
    for objective in [Objective::preset(Preset::VarGrad), grpo.into(), grpo.with_entropy(0.3).into()] {
        let (wanted, wanted_metrics) = learn(CpuBackend::<f32>::new(1), objective).unwrap();
        let (got, metrics) = learn(emulated(Precision::F32, Schedule::Forward), objective).unwrap();
        assert_close("gradient", &got, &wanted, Tolerance::F32);
        for ((name, got), (wanted_name, wanted)) in metrics.into_iter().zip(wanted_metrics) {
            assert_eq!(name, wanted_name);
            assert!((got - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3), "{name}: got {got}, wanted {wanted}");
        }
    }
}

/// Without a network only the objective's kernels run, so a step fails if they do not compile.
#[test]
fn a_step_needs_the_kernels() {
    let flags = vec!["-this-is-no-option".to_owned()];
    let device = CudaBackend::emulated(EmulatorOptions { flags, ..EmulatorOptions::default() }, Precision::F32);
    let error = learn(device, Objective::preset(Preset::VarGrad)).expect_err("nothing compiles");
    assert!(matches!(error, TrainError::Policy(Error::Compile { .. })), "{error}");
}
