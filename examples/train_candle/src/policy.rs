//! A small candle model as a `Policy`.

use candle_core::{D, Device, Tensor, Var};
use flowrl_core::backend::{CpuBackend, CpuError};
use flowrl_core::optim::AdamWStep;
use flowrl_core::parameter::{self, Parameter};
use flowrl_core::policy::{Completions, Model, Policy, SampleRequest, Scores, ScoresOf, Sequences};
use flowrl_core::random::{Purpose, Stream};

/// The token that ends a completion; those below it are digits.
pub const END: u32 = 10;
const VOCAB: usize = 11;
const PAD: u32 = 11;
const CONTEXT: usize = 3;
const WIDTH: usize = 16;

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum Failure {
    Candle(#[from] candle_core::Error),
    Cpu(#[from] CpuError),
}

/// An embedding, a hidden layer, and logits.
pub struct Network {
    cpu: CpuBackend<f32>,
    weights: Vec<Var>,
    parameters: Vec<Parameter<CpuBackend<f32>>>,
    reference: Vec<Tensor>,
    /// Log-probabilities, entropies and representations of the last `forward`.
    last: Option<[Tensor; 3]>,
}

/// Returns the prompt and the tokens so far, padded.
fn context(prompt: &[u32], tokens: &[u32]) -> [u32; CONTEXT] {
    std::array::from_fn(|i| if i == 0 { prompt[0] } else { tokens.get(i - 1).copied().unwrap_or(PAD) })
}

fn embed(weights: &[Tensor], tokens: &[u32]) -> candle_core::Result<Tensor> {
    weights[0].index_select(&Tensor::new(tokens, &Device::Cpu)?, 0)
}

fn logits(weights: &[Tensor], contexts: &[[u32; CONTEXT]]) -> candle_core::Result<Tensor> {
    let inputs = embed(weights, &contexts.concat())?.reshape((contexts.len(), CONTEXT * WIDTH))?;
    inputs.matmul(&weights[1])?.tanh()?.matmul(&weights[2])
}

impl Network {
    pub fn new(cpu: CpuBackend<f32>) -> Result<Self, Failure> {
        let mut network = Self { cpu, weights: vec![], parameters: vec![], reference: vec![], last: None };
        for (i, shape) in [(VOCAB + 1, WIDTH), (CONTEXT * WIDTH, 64), (64, VOCAB)].into_iter().enumerate() {
            let normal = |j| Stream::new(0, Purpose::Init).normal(0, i as u32, j as u32) / (shape.0 as f64).sqrt();
            let values: Vec<f32> = (0..shape.0 * shape.1).map(|j| normal(j) as f32).collect();
            network.parameters.push(Parameter::new(&network.cpu, format!("weights.{i}"), &values)?);
            network.weights.push(Var::from_slice(&values, shape, &Device::Cpu)?);
            network.reference.push(Tensor::from_vec(values, shape, &Device::Cpu)?);
        }
        Ok(network)
    }

    fn weights(&self, model: Model) -> Vec<Tensor> {
        let current = || self.weights.iter().map(|weight| weight.as_tensor().clone()).collect();
        if model == Model::Policy { current() } else { self.reference.clone() }
    }

    /// Log-probability and entropy of every token, (N) each.
    fn outputs(weights: &[Tensor], sequences: &Sequences<'_>, temperature: f64) -> Result<[Tensor; 2], Failure> {
        let mut contexts = Vec::new();
        for (completion, &p) in sequences.completions.iter().zip(sequences.prompt_of) {
            contexts.extend((0..completion.len()).map(|t| context(sequences.prompts[p], &completion[..t])));
        }
        let logits = (logits(weights, &contexts)? / temperature)?;
        let log_p = logits.broadcast_sub(&logits.log_sum_exp(D::Minus1)?.unsqueeze(1)?)?;
        let tokens = Tensor::new(sequences.completions.concat(), &Device::Cpu)?.unsqueeze(1)?;
        Ok([log_p.gather(&tokens, 1)?.squeeze(1)?, (&log_p * log_p.exp()?)?.sum(D::Minus1)?.neg()?])
    }
}

impl Policy for Network {
    type Backend = CpuBackend<f32>;
    type Error = Failure;

    fn backend(&self) -> &CpuBackend<f32> {
        &self.cpu
    }
    fn width(&self) -> usize {
        WIDTH
    }
    fn represent(&mut self, prompts: &[&[u32]], out: &mut Vec<f32>) -> Result<(), Failure> {
        let representation = embed(&self.weights(Model::Policy), &prompts.concat())?.flatten_all()?.to_vec1()?;
        out[..representation.len()].copy_from_slice(&representation);
        Ok(())
    }
    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<f32>, Failure> {
        let weights = self.weights(Model::Policy);
        Completions::sample(&self.cpu, request, VOCAB, END, |open| {
            let contexts: Vec<_> = open.iter().map(|open| context(open.prompt, open.tokens)).collect();
            Ok(logits(&weights, &contexts)?.flatten_all()?.to_vec1()?)
        })
    }
    fn score(&mut self, sequences: &Sequences<'_>, model: Model, temperature: f64) -> ScoresOf<Self> {
        let [l, h] = Self::outputs(&self.weights(model), sequences, temperature)?;
        Ok(Scores { log_probs: l.to_vec1()?, entropies: h.to_vec1()? })
    }
    fn forward(&mut self, sequences: &Sequences<'_>, temperature: f64, out: Option<&mut Vec<f32>>) -> ScoresOf<Self> {
        let weights = self.weights(Model::Policy);
        let [l, h] = Self::outputs(&weights, sequences, temperature)?;
        let scores = Scores { log_probs: l.to_vec1()?, entropies: h.to_vec1()? };
        if let Some(out) = out {
            self.represent(sequences.prompts, out)?;
        }
        self.last = Some([l, h, embed(&weights, &sequences.prompts.concat())?]);
        Ok(scores)
    }
    /// Differentiates Σ d·output with the d held fixed, which has the gradient of the loss.
    fn backward(
        &mut self,
        d_log_probs: &[f32],
        d_entropies: Option<&[f32]>,
        d_representation: Option<&Vec<f32>>,
    ) -> Result<(), Failure> {
        let outputs = self.last.take().expect("a forward pass");
        let of = [Some(d_log_probs), d_entropies, d_representation.map(Vec::as_slice)];
        let mut surrogate = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        for (output, d) in outputs.iter().zip(of).filter_map(|(output, d)| Some((output, d?))) {
            let d = Tensor::from_slice(&d[..output.elem_count()], output.shape(), &Device::Cpu)?;
            surrogate = (surrogate + (output * d)?.sum_all()?)?;
        }
        let gradients = surrogate.backward()?;
        for (parameter, weight) in self.parameters.iter_mut().zip(&self.weights) {
            let Some(gradient) = gradients.get(weight) else { continue };
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            parameter.grad.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
        Ok(())
    }
    fn grad_norm(&mut self) -> Result<f64, Failure> {
        Ok(parameter::grad_norm(&self.cpu, &self.parameters)?)
    }
    fn update(&mut self, step: &AdamWStep) -> Result<(), Failure> {
        parameter::update(&self.cpu, &mut self.parameters, step)?;
        for (parameter, weight) in self.parameters.iter().zip(&self.weights) {
            weight.set(&Tensor::from_slice(&parameter.value, weight.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
    fn zero_grad(&mut self) -> Result<(), Failure> {
        Ok(parameter::zero_grad(&self.cpu, &mut self.parameters)?)
    }
}
