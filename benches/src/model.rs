//! Cases of a whole decoder: one FlowRL step, and sampling.

use std::fs;
use std::path::Path;

use flowrl_core::backend::{Backend, Sampler};
use flowrl_core::objective::{Evaluation, Objective, Preset, Sequence};
use flowrl_core::optim::AdamW;
use flowrl_core::parameter;
use flowrl_core::partition::{PartitionNetwork, PartitionOptions};
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Sequences};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::TransformerPolicy;
use flowrl_lm::config::ModelConfig;
use flowrl_lm::model::{Dimensions, Part, Weights};

use crate::{Cpu, Failure, tokens, uniform};

/// A transformer on the CPU.
pub type CpuPolicy = TransformerPolicy<Cpu>;

/// The number of prompts and completions, and their lengths in tokens.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of prompts.
    pub prompts: usize,
    /// Number of completions per prompt.
    pub group: usize,
    /// Number of tokens in a prompt.
    pub prompt_length: usize,
    /// Number of tokens in a completion.
    pub completion_length: usize,
}

/// The default shape of the peers: 16 prompts of 14 tokens, with 8 completions of 14 tokens each.
pub const PEER_SHAPE: Shape = Shape { prompts: 16, group: 8, prompt_length: 14, completion_length: 14 };

impl Shape {
    /// Returns the number of completions of all prompts.
    pub const fn sequences(&self) -> usize {
        self.prompts * self.group
    }

    fn random_prompts(&self, vocab: usize) -> Vec<Vec<u32>> {
        (0..self.prompts).map(|i| tokens(i as u32, self.prompt_length, vocab)).collect()
    }
}

/// Creates a policy with random weights in the shape of a `config.json`. This policy has no end token, so every
/// completion has its full length.
///
/// # Errors
/// Returns an error if the file cannot be read or does not describe a supported model.
pub fn random_policy(cpu: Cpu, config: &Path) -> Result<CpuPolicy, Failure> {
    let text = fs::read_to_string(config).map_err(|error| format!("cannot read {}: {error}", config.display()))?;
    let dims = ModelConfig::from_json(&text, config)?.dims;
    let weights = random_weights(&dims)?;
    Ok(TransformerPolicy::new(cpu, dims, weights, Vec::new())?)
}

/// Draws weights uniformly within ±1/√inputs, as in PyTorch's `Linear`, and embeddings with deviation 0.02. Norms are
/// 1.
fn random_weights(dims: &Dimensions) -> Result<Weights<Vec<f32>>, Failure> {
    let mut salts = 0..;
    Weights::build(dims, |parts| {
        let mut values = vec![1.0; Part::total(parts)];
        for (part, salt) in parts.iter().zip(&mut salts) {
            let bound = match part.shape.last() {
                _ if part.name.ends_with("norm.weight") => continue,
                _ if part.name.ends_with("embed_tokens.weight") => 0.02 * 3_f64.sqrt(),
                Some(&inputs) if part.shape.len() == 2 => (inputs as f64).powf(-0.5),
                _ => (dims.hidden as f64).powf(-0.5),
            };
            values[part.offset..][..part.elements()].copy_from_slice(&uniform(salt, part.elements(), -bound, bound));
        }
        Ok(values)
    })
}

/// One FlowRL step of the preset `paper` on given completions: forward, log Z from the mean hidden state of the
/// prompts, loss, backward, and AdamW on the decoder and the partition network. Reference and old log-probabilities are
/// given, and no gradient is clipped.
#[derive(Debug)]
pub struct TrainStep {
    policy: CpuPolicy,
    network: PartitionNetwork<Cpu>,
    objective: Objective,
    prompts: Vec<Vec<u32>>,
    completions: Vec<Vec<u32>>,
    prompt_of: Vec<usize>,
    rewards: Vec<f32>,
    /// Log-probabilities under the initial weights, (N). They serve both as the reference and as the sampler.
    given_log_probs: Vec<f32>,
    updates: u64,
}

/// The defaults of PyTorch, including its weight decay.
const OPTIMIZER: AdamW = AdamW { beta1: 0.9, beta2: 0.999, eps: 1e-8, weight_decay: 0.01 };
const LEARNING_RATE: f64 = 1e-5;
const LOG_Z_LEARNING_RATE: f64 = 1e-4;

impl TrainStep {
    /// Creates random prompts, completions and rewards for this policy.
    pub fn new(mut policy: CpuPolicy, shape: Shape) -> Result<Self, Failure> {
        let vocab = policy.dims().vocab;
        let prompts = shape.random_prompts(vocab);
        let first = shape.prompts as u32;
        let completions: Vec<Vec<u32>> =
            (0..shape.sequences()).map(|i| tokens(first + i as u32, shape.completion_length, vocab)).collect();
        let prompt_of: Vec<usize> = (0..shape.sequences()).map(|i| i / shape.group).collect();
        let (prompt_slices, completion_slices) = (slices(&prompts), slices(&completions));
        let sequences = Sequences { prompts: &prompt_slices, completions: &completion_slices, prompt_of: &prompt_of };
        let given_log_probs = policy.score(&sequences, Model::Policy, 1.0)?.log_probs;
        let width = policy.width();
        let options = PartitionOptions { zero_init: false, ..PartitionOptions::default() };
        let network = PartitionNetwork::new(policy.backend(), "log_z", width, options, 0)?;
        let rewards = uniform(0, shape.sequences(), 0.0, 2.0).iter().map(|x| x.floor()).collect();
        let objective = Objective::preset(Preset::Paper);
        Ok(Self { policy, network, objective, prompts, completions, prompt_of, rewards, given_log_probs, updates: 0 })
    }

    /// Takes the step. The returned loss and residuals are those before the update.
    pub fn run(&mut self) -> Result<Evaluation<f32>, Failure> {
        let pool = self.policy.backend().pool().clone();
        pool.enter(|| self.step())
    }

    fn step(&mut self) -> Result<Evaluation<f32>, Failure> {
        let Self { policy, network, prompt_of, given_log_probs, .. } = self;
        let (prompts, completions) = (slices(&self.prompts), slices(&self.completions));
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of };
        let mut hidden = policy.backend().zeros(prompts.len() * policy.width())?;
        let log_probs = policy.forward(&sequences, 1.0, Some(&mut hidden))?.log_probs;
        let log_z = network.forward(policy.backend(), &hidden, prompts.len(), None)?;

        let length = log_probs.len() / completions.len();
        let given = given_log_probs.chunks(length);
        let batch: Vec<Sequence<'_, f32>> = log_probs
            .chunks(length)
            .zip(given)
            .zip(prompt_of.iter().zip(&self.rewards))
            .map(|((log_probs, given), (&group, &reward))| Sequence {
                group,
                reward,
                log_probs,
                ref_log_probs: Some(given),
                old_log_probs: Some(given),
                log_flows: None,
                log_z: Some(log_z[group]),
                value: None,
                ..Sequence::default()
            })
            .collect();
        let evaluation = self.objective.compute(&batch)?;
        let d_log_probs: Vec<f32> = (0..batch.len()).flat_map(|i| evaluation.d_log_probs(i).iter().copied()).collect();
        let mut d_log_z = vec![0.0; prompts.len()];
        for (&prompt, d) in prompt_of.iter().zip(&evaluation.d_log_z) {
            d_log_z[prompt] += d;
        }

        let mut d_hidden = policy.backend().zeros(hidden.len())?;
        network.backward(policy.backend(), &hidden, &d_log_z, Some(&mut d_hidden))?;
        policy.backward(&d_log_probs, None, Some(&d_hidden))?;
        self.updates += 1;
        policy.update(&OPTIMIZER.step(LEARNING_RATE, self.updates, 1.0))?;
        let step = OPTIMIZER.step(LOG_Z_LEARNING_RATE, self.updates, 1.0);
        parameter::update(policy.backend(), network.parameters_mut(), &step)?;
        Ok(evaluation)
    }
}

/// Sampling with a KV cache at temperature 1, with log-probabilities.
#[derive(Debug)]
pub struct Generate {
    policy: CpuPolicy,
    prompts: Vec<Vec<u32>>,
    shape: Shape,
    step: u32,
}

impl Generate {
    /// Creates random prompts for this policy. If it has no end token, every completion has its full length.
    pub fn new(policy: CpuPolicy, shape: Shape) -> Self {
        let prompts = shape.random_prompts(policy.dims().vocab);
        Self { policy, prompts, shape, step: 0 }
    }

    /// Draws completions of every prompt, which differ from call to call.
    pub fn run(&mut self) -> Result<Completions<f32>, Failure> {
        let pool = self.policy.backend().pool().clone();
        self.step += 1;
        let prompts = slices(&self.prompts);
        let request = SampleRequest {
            prompts: &prompts,
            samples: self.shape.group,
            max_tokens: self.shape.completion_length,
            sampler: Sampler::default(),
            stream: Stream::new(0, Purpose::Sample),
            step: self.step,
        };
        Ok(pool.enter(|| self.policy.sample(&request))?)
    }
}

fn slices(rows: &[Vec<u32>]) -> Vec<&[u32]> {
    rows.iter().map(Vec::as_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape { prompts: 2, group: 4, prompt_length: 3, completion_length: 5 };

    fn policy() -> CpuPolicy {
        let config = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/model.json");
        random_policy(Cpu::new(1), config.as_ref()).unwrap()
    }

    #[test]
    fn training_on_the_same_completions_shrinks_the_residuals() {
        let mut step = TrainStep::new(policy(), SMALL).unwrap();
        // This test uses the spread of the residuals within each group, where log Z plays no part. The loss has weights
        // that change too.
        let spread: Vec<f32> = (0..20).map(|_| spread(&step.run().unwrap().residuals)).collect();
        assert!(spread[19] < 0.99 * spread[0], "{spread:?}");
    }

    #[test]
    fn the_first_update_moves_log_z_towards_zero() {
        // On policy the best log Z is the mean of β r̂, which is 0 in every group.
        let mut step = TrainStep::new(policy(), SMALL).unwrap();
        let [before, after] = [(); 2].map(|()| step.run().unwrap().log_z);
        assert!(before.iter().zip(&after).all(|(before, after)| after.abs() < before.abs()), "{before:?} {after:?}");
    }

    fn spread(residuals: &[f32]) -> f32 {
        let around_mean = |group: &[f32]| {
            let mean = group.iter().sum::<f32>() / group.len() as f32;
            group.iter().map(|r| (r - mean) * (r - mean)).sum::<f32>()
        };
        residuals.chunks(SMALL.group).map(around_mean).sum()
    }

    #[test]
    fn the_first_step_is_on_policy() {
        let mut step = TrainStep::new(policy(), SMALL).unwrap();
        let loss = step.run().unwrap().loss;
        // Here w = 1 and L = L_ref, so δ = log Z − β r̂. With log Z near 0, the loss is β² times the sum of r̂² over
        // the sequences, divided by their number.
        let sum_of_squares: f64 = step
            .rewards
            .chunks(SMALL.group)
            .map(|r| if r.iter().all(|x| *x == r[0]) { 0.0 } else { (SMALL.group - 1) as f64 })
            .sum();
        let want = 225.0 * sum_of_squares / SMALL.sequences() as f64;
        assert!(want > 0.0 && (loss / want - 1.0).abs() < 0.05, "{loss} {want}");
    }

    #[test]
    fn completions_have_their_full_length_and_differ_from_run_to_run() {
        let mut generate = Generate::new(policy(), SMALL);
        let (first, second) = (generate.run().unwrap(), generate.run().unwrap());
        assert_eq!(first.offsets, (0..=8).map(|i| i * 5).collect::<Vec<_>>());
        assert_ne!(first.tokens, second.tokens);
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = random_policy(Cpu::new(1), Path::new("no/model.json")).unwrap_err();
        assert!(error.to_string().contains("no/model.json"));
    }
}
