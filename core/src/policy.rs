//! The interface of a policy, which samples completions, scores them, and takes the gradient of the loss with respect
//! to its log-probabilities.

use alloc::vec;
use alloc::vec::Vec;

use crate::Real;
use crate::backend::{Backend, Drawn, SampleKeys, Sampler};
use crate::optim::AdamWStep;
use crate::random::Stream;

/// The floating-point type of a policy's numbers.
pub type RealOf<P> = <<P as Policy>::Backend as Backend>::Real;

/// The result of [`Policy::score`] and [`Policy::forward`].
pub type ScoresOf<P> = Result<Scores<RealOf<P>>, <P as Policy>::Error>;

/// Borrowed completions of some prompts: the i-th completion answers prompt `prompt_of[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// Tokens of each prompt, at least one.
    pub prompts: &'a [&'a [u32]],
    /// Tokens of each completion, including the end token.
    pub completions: &'a [&'a [u32]],
    /// Index of the prompt that each completion answers.
    pub prompt_of: &'a [usize],
}

impl Sequences<'_> {
    /// Returns the number of tokens in all completions, N.
    pub fn tokens(&self) -> usize {
        self.completions.iter().map(|c| c.len()).sum()
    }
}

/// Log-probability and entropy of every token of [`Sequences`], (N) each, packed in the order of the completions.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores<T> {
    /// Log-probability of each token.
    pub log_probs: Vec<T>,
    /// Entropy of the distribution that each token was drawn from.
    pub entropies: Vec<T>,
}

/// Sampled completions, packed: completion i is `tokens[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completions<T> {
    /// (B) index of the prompt that each completion answers.
    pub prompt_of: Vec<usize>,
    /// (B + 1) token offsets of the completions.
    pub offsets: Vec<usize>,
    /// (N) tokens, including end tokens.
    pub tokens: Vec<u32>,
    /// (N) log-probability of each token under the distribution it was drawn from.
    pub log_probs: Vec<T>,
    /// (N) entropy of that distribution.
    pub entropies: Vec<T>,
    /// (N) total probability of the tokens that could not be drawn, in the softmax behind each token. Empty if every
    /// token could be drawn.
    pub excluded: Vec<T>,
    /// (B) whether each completion ended by itself, rather than at the length limit.
    pub ended: Vec<bool>,
}

impl<T> Completions<T> {
    /// Returns the number of completions, B.
    pub fn len(&self) -> usize {
        self.prompt_of.len()
    }

    /// Returns whether there are no completions.
    pub fn is_empty(&self) -> bool {
        self.prompt_of.is_empty()
    }

    /// Returns the tokens of completion `i`.
    pub fn get(&self, i: usize) -> &[u32] {
        &self.tokens[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Samples the completions of a request token by token, for a policy that can tell the logits of the next token.
    ///
    /// `logits` returns a row of `vocab` logits for each completion that is still open. The token `end` ends a
    /// completion.
    ///
    /// # Errors
    /// Returns the errors of `logits` and of the device.
    pub fn sample<B: Backend<Real = T>, E: From<B::Error>>(
        backend: &B,
        request: &SampleRequest<'_>,
        vocab: usize,
        end: u32,
        mut logits: impl FnMut(&[Context<'_>]) -> Result<B::Buffer, E>,
    ) -> Result<Self, E>
    where
        T: Real,
    {
        let count = request.prompts.len() * request.samples;
        let mut tokens: Vec<Vec<u32>> = vec![Vec::new(); count];
        let mut draws: Vec<Vec<[T; 2]>> = vec![Vec::new(); count];
        let mut open: Vec<u32> = (0..count as u32).collect();
        for t in 0..request.max_tokens as u32 {
            if open.is_empty() {
                break;
            }
            let context = |&i: &u32| Context {
                prompt: request.prompts[i as usize / request.samples],
                tokens: &tokens[i as usize],
            };
            let logits = logits(&open.iter().map(context).collect::<Vec<_>>())?;
            let token = vec![t; open.len()];
            let keys = SampleKeys { stream: request.stream, step: request.step, sequence: &open, token: &token };
            let (mut drawn, [mut log_prob, mut entropy, mut excluded]) =
                (token.clone(), [(); 3].map(|()| vec![T::zero(); open.len()]));
            let out =
                Drawn { tokens: &mut drawn, log_prob: &mut log_prob, entropy: &mut entropy, excluded: &mut excluded };
            backend.sample(&logits, (open.len(), vocab), &request.sampler, None, keys, out)?;
            for (row, &i) in open.iter().enumerate() {
                tokens[i as usize].push(drawn[row]);
                draws[i as usize].push([log_prob[row], entropy[row]]);
            }
            open.retain(|&i| tokens[i as usize].last() != Some(&end));
        }
        let mut offsets = vec![0; count + 1];
        for i in 0..count {
            offsets[i + 1] = offsets[i] + tokens[i].len();
        }
        Ok(Self {
            prompt_of: (0..count).map(|i| i / request.samples).collect(),
            offsets,
            ended: tokens.iter().map(|tokens| tokens.last() == Some(&end)).collect(),
            tokens: tokens.concat(),
            log_probs: draws.iter().flatten().map(|draw| draw[0]).collect(),
            entropies: draws.iter().flatten().map(|draw| draw[1]).collect(),
            excluded: Vec::new(),
        })
    }

    /// Returns the tokens of every completion.
    pub fn slices(&self) -> Vec<&[u32]> {
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

/// A completion in progress, for [`Completions::sample`].
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Tokens of its prompt.
    pub prompt: &'a [u32],
    /// Tokens sampled so far.
    pub tokens: &'a [u32],
}

/// A request for [`Policy::sample`].
#[derive(Clone, Copy, Debug)]
pub struct SampleRequest<'a> {
    /// Tokens of each prompt, at least one.
    pub prompts: &'a [&'a [u32]],
    /// Number of completions of each prompt, K.
    pub samples: usize,
    /// Largest number of tokens in a completion.
    pub max_tokens: usize,
    /// Temperature and truncation with which tokens are drawn.
    pub sampler: Sampler,
    /// Source of random numbers: token t of completion k of prompt p takes the number at (`step`, p·K + k, t).
    pub stream: Stream,
    /// First coordinate of the random numbers, usually the training step.
    pub step: u32,
}

/// The weights that score a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The policy being trained.
    Policy,
    /// The frozen reference.
    Reference,
}

/// The terms that a policy on a graph of states adds to the log-probabilities of its last [`Policy::forward`]: the
/// learned parts of the residual (N each, packed in the order of the completions).
///
/// If an object can be reached in several ways, trajectory balance compares with a backward policy P_B instead of a
/// frozen reference: δ = log Z + Σ log P_F − βr − Σ log P_B.
pub trait Graph<T> {
    /// Returns log P_B(s_t | s_{t+1}) of every step, and 0 for the step that ends. If every state has one parent, this
    /// is log π_ref.
    fn log_backward(&self) -> &[T];
    /// Returns log F(s_t), the log-flow of the state before every step, if the policy learns flows.
    fn log_flows(&self) -> Option<&[T]>;
    /// Sets the derivatives of the loss with respect to both. The next [`Policy::backward`] uses them once; without
    /// this call they are 0.
    fn set_gradient(&mut self, d_log_backward: &[T], d_log_flows: Option<&[T]>);
}

/// A trainable distribution over completions. `flowrl-lm` implements it for a transformer, `flowrl-lab` for small
/// policies.
///
/// To train your own model, implement this trait for it and pass it to
/// [`Trainer::new(&policy, objective, options)`](crate::train::Trainer::new). If the model can tell the logits of the
/// next token, [`Completions::sample`] writes [`Policy::sample`] for you.
///
/// Every method returns an error if the device fails, or if a prompt is empty or holds an unknown token.
pub trait Policy {
    /// The device on which the policy runs.
    type Backend: Backend;
    /// The policy's error type.
    type Error: core::error::Error + Send + Sync + 'static + From<<Self::Backend as Backend>::Error>;

    /// Returns the device of this policy.
    fn backend(&self) -> &Self::Backend;
    /// Returns the number of elements in this policy's representation of a prompt, d.
    fn width(&self) -> usize;

    /// Computes the representation of each prompt, (prompts, d). For a transformer this is the mean last-layer hidden
    /// state over the prompt's tokens.
    fn represent(
        &mut self,
        prompts: &[&[u32]],
        out: &mut <Self::Backend as Backend>::Buffer,
    ) -> Result<(), Self::Error>;

    /// Draws completions; those of one prompt are contiguous.
    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<RealOf<Self>>, Self::Error>;

    /// Returns the log-probabilities and entropies of all tokens at `temperature`.
    fn score(&mut self, sequences: &Sequences<'_>, model: Model, temperature: f64) -> ScoresOf<Self>;

    /// Scores the sequences with the policy and keeps the activations that [`Policy::backward`] needs. If
    /// `representation` is given, this also writes the representation of each prompt, (prompts, d).
    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        representation: Option<&mut <Self::Backend as Backend>::Buffer>,
    ) -> ScoresOf<Self>;

    /// Adds to the gradient, for the sequences of the last [`Policy::forward`]. Takes the derivatives of the loss with
    /// respect to the log-probabilities (N) and, if the loss depends on them, to the entropies (N) and the
    /// representation (prompts, d).
    fn backward(
        &mut self,
        d_log_probs: &[RealOf<Self>],
        d_entropies: Option<&[RealOf<Self>]>,
        d_representation: Option<&<Self::Backend as Backend>::Buffer>,
    ) -> Result<(), Self::Error>;

    /// Returns the backward policy and the flows, if the policy has them. FlowRL then takes L_ref from here instead of
    /// from [`Model::Reference`].
    fn graph(&mut self) -> Option<&mut dyn Graph<RealOf<Self>>> {
        None
    }

    /// Returns the norm of this policy's gradient over all weights.
    fn grad_norm(&mut self) -> Result<f64, Self::Error>;

    /// Applies one AdamW step and sets the gradient to 0.
    fn update(&mut self, step: &AdamWStep) -> Result<(), Self::Error>;

    /// Sets the gradient to 0.
    fn zero_grad(&mut self) -> Result<(), Self::Error>;
}
