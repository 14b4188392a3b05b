//! A policy: samples completions, scores them, and takes the gradient of the loss with respect to its log-probabilities.

use alloc::vec::Vec;

use crate::backend::{Backend, Sampler};
use crate::optim::AdamWStep;
use crate::random::Stream;

/// The precision in which a policy speaks.
pub type RealOf<P> = <<P as Policy>::Backend as Backend>::Real;

/// Completions of prompts, borrowed: the i-th completion answers prompt `prompt_of[i]`.
#[derive(Clone, Copy, Debug)]
pub struct Sequences<'a> {
    /// Tokens of each prompt, at least one.
    pub prompts: &'a [&'a [u32]],
    /// Tokens of each completion; the end token counts.
    pub completions: &'a [&'a [u32]],
    /// Which prompt each completion answers.
    pub prompt_of: &'a [usize],
}

impl Sequences<'_> {
    /// Tokens of all completions, N.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.completions.iter().map(|c| c.len()).sum()
    }
}

/// Sampled completions, packed: completion i is `tokens[offsets[i]..offsets[i + 1]]`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Completions<T> {
    /// (B) which of the given prompts a completion answers.
    pub prompt_of: Vec<usize>,
    /// (B + 1).
    pub offsets: Vec<usize>,
    /// (N) tokens, the end token included.
    pub tokens: Vec<u32>,
    /// (N) log-probability of each token under the distribution it was drawn from.
    pub log_probs: Vec<T>,
    /// (N) entropy of that distribution.
    pub entropies: Vec<T>,
    /// (N) probability of the tokens that could not be drawn, in the softmax that each token came from; empty where every token could.
    pub excluded: Vec<T>,
    /// (B) whether the completion ended by itself rather than at the limit.
    pub ended: Vec<bool>,
}

impl<T> Completions<T> {
    /// Number of completions, B.
    #[must_use]
    pub fn len(&self) -> usize {
        self.prompt_of.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.prompt_of.is_empty()
    }

    /// Tokens of completion `i`.
    #[must_use]
    pub fn get(&self, i: usize) -> &[u32] {
        &self.tokens[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Tokens of every completion.
    #[must_use]
    pub fn slices(&self) -> Vec<&[u32]> {
        (0..self.len()).map(|i| self.get(i)).collect()
    }
}

/// What to sample.
#[derive(Clone, Copy, Debug)]
pub struct SampleRequest<'a> {
    /// Tokens of each prompt, at least one.
    pub prompts: &'a [&'a [u32]],
    /// Completions of each prompt, K.
    pub samples: usize,
    /// Tokens of a completion at most.
    pub max_tokens: usize,
    /// How a token is drawn.
    pub sampler: Sampler,
    /// Random numbers: completion k of prompt p takes its token t from (`step`, p·K + k, t).
    pub stream: Stream,
    /// First coordinate of the random numbers.
    pub step: u32,
}

/// Which weights score a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// The policy being trained.
    Policy,
    /// The frozen reference.
    Reference,
}

/// What a policy on a graph of states gives beside the log-probabilities of its last [`Policy::forward`]: everything in a residual
/// that is learned together with them (N each, packed in the order of the completions).
///
/// Where an object can be reached in several ways, trajectory balance compares with a backward policy P_B instead of a frozen
/// reference: δ = log Z + Σ log P_F − βr − Σ log P_B.
pub trait Graph<T> {
    /// log P_B(s_t | s_{t+1}) of every step, 0 for the step that ends; where every state has one parent, log π_ref.
    fn log_backward(&self) -> &[T];
    /// log F(s_t), the log-flow of the state before every step, where the policy learns flows.
    fn log_flows(&self) -> Option<&[T]>;
    /// ∂loss/∂ of both, for the next [`Policy::backward`], which takes them once. Without this call they have no gradient.
    fn set_gradient(&mut self, d_log_backward: &[T], d_log_flows: Option<&[T]>);
}

/// A distribution over completions that can be trained. See `flowrl-lm` for the transformer.
pub trait Policy {
    /// The device it runs on.
    type Backend: Backend;
    /// What can go wrong.
    type Error: core::error::Error + Send + Sync + 'static + From<<Self::Backend as Backend>::Error>;

    /// The device.
    fn backend(&self) -> &Self::Backend;
    /// Elements of a prompt's representation, d.
    fn width(&self) -> usize;

    /// The representation of each prompt, (prompts, d): for a transformer the mean last-layer hidden state over its tokens.
    ///
    /// # Errors
    /// Where a prompt is empty or holds an unknown token, or the device failed.
    fn represent(
        &mut self,
        prompts: &[&[u32]],
        out: &mut <Self::Backend as Backend>::Buffer,
    ) -> Result<(), Self::Error>;

    /// Draws completions, those of one prompt together.
    ///
    /// # Errors
    /// Where a prompt is empty or holds an unknown token, or the device failed.
    fn sample(&mut self, request: &SampleRequest<'_>) -> Result<Completions<RealOf<Self>>, Self::Error>;

    /// Log-probabilities and entropies (N each, packed in the order of the completions) at `temperature`.
    ///
    /// # Errors
    /// Where a prompt is empty or holds an unknown token, or the device failed.
    fn score(
        &mut self,
        sequences: &Sequences<'_>,
        model: Model,
        temperature: f64,
        log_probs: &mut [RealOf<Self>],
        entropies: &mut [RealOf<Self>],
    ) -> Result<(), Self::Error>;

    /// The same for the policy, keeping what [`Policy::backward`] needs; where asked, the representation of each prompt,
    /// (prompts, d).
    ///
    /// # Errors
    /// As for [`Policy::score`].
    fn forward(
        &mut self,
        sequences: &Sequences<'_>,
        temperature: f64,
        log_probs: &mut [RealOf<Self>],
        entropies: &mut [RealOf<Self>],
        representation: Option<&mut <Self::Backend as Backend>::Buffer>,
    ) -> Result<(), Self::Error>;

    /// Adds the gradient of the sequences given to the last [`Policy::forward`]: `d_log_probs` (N), and if the loss depends on them,
    /// that of the entropies (N) and of the representation (prompts, d).
    ///
    /// # Errors
    /// Where a length does not fit, or the device failed.
    fn backward(
        &mut self,
        d_log_probs: &[RealOf<Self>],
        d_entropies: Option<&[RealOf<Self>]>,
        d_representation: Option<&<Self::Backend as Backend>::Buffer>,
    ) -> Result<(), Self::Error>;

    /// Backward policy and flows, where it has them. FlowRL then takes L_ref from here instead of [`Model::Reference`].
    fn graph(&mut self) -> Option<&mut dyn Graph<RealOf<Self>>> {
        None
    }

    /// ‖gradient‖ over all weights.
    ///
    /// # Errors
    /// Where the device failed.
    fn grad_norm(&mut self) -> Result<f64, Self::Error>;

    /// One AdamW step, after which the gradient is 0 again.
    ///
    /// # Errors
    /// Where the device failed.
    fn update(&mut self, step: &AdamWStep) -> Result<(), Self::Error>;

    /// Drops the gradient.
    ///
    /// # Errors
    /// Where the device failed.
    fn zero_grad(&mut self) -> Result<(), Self::Error>;
}
