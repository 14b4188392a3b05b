//! Runs one batch through the whole chain: policy.forward → objective.evaluate → policy.backward.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend, Sampler};
use flowrl_core::objective::{Batch, FlowRl, Gradients, Objective};
use flowrl_core::policy::{Completions, Policy, SampleRequest, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lab::{Environment, Hypergrid, HypergridReward, LabPolicy, Network, Outcome, Walk, walk};

pub(crate) fn grid(side: usize, dim: usize) -> Hypergrid {
    Hypergrid::new(side, dim, HypergridReward::TorchGfn).expect("a good grid")
}

pub(crate) fn tb(change: impl FnOnce(&mut FlowRl)) -> Objective {
    let mut options = FlowRl::exact_tb();
    change(&mut options);
    Objective::FlowRl(options)
}

pub(crate) fn request(samples: usize, temperature: f64) -> SampleRequest<'static> {
    SampleRequest {
        prompts: &[&[0]],
        samples,
        max_tokens: 1000,
        sampler: Sampler { temperature, ..Sampler::default() },
        stream: Stream::new(3, Purpose::Sample),
        step: 0,
    }
}

pub(crate) fn sample<T: Real, E: Environment, N: Network<T>>(
    policy: &mut LabPolicy<T, E, N>,
    samples: usize,
    temperature: f64,
) -> Completions<T> {
    policy.sample(&request(samples, temperature)).expect("trajectories")
}

/// Returns the log-probabilities of completions under the policy, and leaves it ready for a backward pass.
pub(crate) fn forward<T: Real, E: Environment, N: Network<T>>(
    policy: &mut LabPolicy<T, E, N>,
    completions: &[&[u32]],
    temperature: f64,
) -> Vec<T> {
    forward_with_entropies(policy, completions, temperature).0
}

fn forward_with_entropies<T: Real, E: Environment, N: Network<T>>(
    policy: &mut LabPolicy<T, E, N>,
    completions: &[&[u32]],
    temperature: f64,
) -> (Vec<T>, Vec<T>) {
    let zeros = vec![0; completions.len()];
    let sequences = Sequences { prompts: &[&[0]], completions, prompt_of: &zeros };
    let scores = policy.forward(&sequences, temperature, None).expect("legal actions");
    (scores.log_probs, scores.entropies)
}

/// Returns the loss of a batch with this log Z, and ∂loss/∂log Z. If `backward` is true, this adds the gradient to the
/// weights' gradients.
pub(crate) fn chain<T: Real, E: Environment, N: Network<T>>(
    policy: &mut LabPolicy<T, E, N>,
    completions: &[&[u32]],
    objective: &Objective,
    log_z: f64,
    temperature: f64,
    backward: bool,
) -> (f64, f64) {
    let (log_probs, entropies) = forward_with_entropies(policy, completions, temperature);
    let offsets: Vec<usize> = std::iter::once(0)
        .chain(completions.iter().scan(0, |end, c| {
            *end += c.len();
            Some(*end)
        }))
        .collect();
    let reward = |completion: &&[u32]| match walk(policy.environment(), completion) {
        Walk::Finished(object) => T::of(policy.environment().reward(object)),
        _ => panic!("an unfinished trajectory"),
    };
    let (b, n) = (completions.len(), log_probs.len());
    let rewards: Vec<T> = completions.iter().map(reward).collect();
    let graph = policy.graph().expect("a graph");
    let (log_backward, log_flows) = (graph.log_backward().to_vec(), graph.log_flows().map(<[T]>::to_vec));
    let mut outputs = [n, n, n, b, b, b, b].map(|len| vec![T::zero(); len]);
    let [d_log_probs, d_log_flows, d_entropies, d_log_z, used, residuals, weights] = &mut outputs;
    let batch = Batch {
        offsets: &offsets,
        groups: &vec![0; b],
        advantages: &rewards,
        log_probs: &log_probs,
        ref_log_probs: Some(&log_backward),
        old_log_probs: None,
        log_flows: log_flows.as_deref(),
        entropies: Some(&entropies),
        log_z: Some(&vec![T::of(log_z); b]),
        ..Batch::default()
    };
    let mut out = Gradients { d_log_probs, d_log_flows, d_entropies, d_log_z, log_z: used, residuals, weights };
    let diagnostics = objective.evaluate(&batch, batch.totals(), &mut vec![0; b], &mut out).expect("good input");
    let d = d_log_z.iter().map(|d| d.f64()).sum();
    if backward {
        if objective.beta().is_some() {
            let negated: Vec<T> = d_log_probs.iter().map(|&d| -d).collect();
            let flows = objective.needs_flows().then_some(&d_log_flows[..]);
            policy.graph().expect("a graph").set_gradient(&negated, flows);
        }
        let d_entropies = objective.needs_entropies().then_some(&d_entropies[..]);
        policy.backward(d_log_probs, d_entropies, None).expect("after a forward pass");
    }
    (diagnostics.loss, d)
}

/// Returns the gradients of all parameters, concatenated.
pub(crate) fn gradient<T: Real, E: Environment, N: Network<T>>(policy: &LabPolicy<T, E, N>) -> Vec<T> {
    policy.parameters().iter().flat_map(|p| p.grad.clone()).collect()
}

pub(crate) fn bits<T: Real>(values: &[T]) -> Vec<u64> {
    values.iter().map(|x| x.f64().to_bits()).collect()
}

/// Sets random weights, since a new table is uniform.
pub(crate) fn randomise<T: Real, E: Environment, N: Network<T>>(policy: &mut LabPolicy<T, E, N>) {
    let stream = Stream::new(17, Purpose::Init);
    for (p, parameter) in policy.parameters_mut().iter_mut().enumerate() {
        let value: Vec<T> = (0..parameter.len).map(|i| T::of(0.4 * stream.normal(7, p as u32, i as u32))).collect();
        CpuBackend::<T>::reference().write(&mut parameter.value, 0, &value).expect("same length");
    }
}

/// An environment with enough unreachable states appended that it is no longer evaluated as a whole.
#[derive(Clone)]
pub(crate) struct Padded<E>(pub(crate) E);

impl<E: Environment> Environment for Padded<E> {
    fn states(&self) -> usize {
        self.0.states() + 1000
    }
    fn objects(&self) -> usize {
        self.0.objects()
    }
    fn actions(&self) -> usize {
        self.0.actions()
    }
    fn max_length(&self) -> usize {
        self.0.max_length()
    }
    fn step(&self, state: usize, action: usize) -> Option<Outcome> {
        if state < self.0.states() { self.0.step(state, action) } else { Some(Outcome::Object(0)) }
    }
    fn reward(&self, object: usize) -> f64 {
        self.0.reward(object)
    }
    fn is_mode(&self, object: usize) -> bool {
        self.0.is_mode(object)
    }
    fn log_reference(&self, state: usize, action: usize) -> f64 {
        self.0.log_reference(state, action)
    }
    fn parents(&self) -> usize {
        self.0.parents()
    }
    fn parent(&self, state: usize, k: usize) -> Option<(usize, usize)> {
        if state < self.0.states() { self.0.parent(state, k) } else { None }
    }
    fn features(&self) -> usize {
        self.0.features()
    }
    fn describe(&self, state: usize, ones: &mut Vec<u32>) {
        self.0.describe(state.min(self.0.states() - 1), ones);
    }
}
