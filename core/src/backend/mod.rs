//! The interface of a device: buffers, and FlowRL's operations on them, each coarse enough to be one good GPU kernel.

mod cpu;
mod error;
mod objective;
#[cfg(feature = "fast")]
pub(crate) mod packed;
mod pool;
#[cfg(feature = "fast")]
mod product;

use alloc::vec::Vec;
use core::fmt::Debug;

pub use cpu::CpuBackend;
pub use error::{BackendError, CpuError, ErrorKind, check_len};
pub use objective::ObjectiveError;
pub use pool::{Pool, split};

use crate::Real;
use crate::objective::{Batch, Diagnostics, Gradients, Objective, Totals, value_loss};
use crate::optim::AdamWStep;
use crate::random::Stream;

/// The shape of a linear layer applied to `rows` rows: x (rows, inputs), W (outputs, inputs), y (rows, outputs).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearShape {
    /// Rows of x and y.
    pub rows: usize,
    /// Columns of x and W.
    pub inputs: usize,
    /// Columns of y, rows of W.
    pub outputs: usize,
}

/// How the next token is drawn from a row of logits.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields, default))]
pub struct Sampler {
    /// Divisor of the logits. 0 selects greedy decoding: the most probable token, recorded with its log-probability at
    /// temperature 1.
    pub temperature: f64,
    /// Number of most probable tokens to keep; 0 keeps all.
    pub top_k: usize,
    /// Probability mass to keep, starting from the most probable token; 1 keeps all.
    pub top_p: f64,
}

impl Default for Sampler {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

impl Sampler {
    /// Greedy decoding.
    pub const GREEDY: Self = Self { temperature: 0.0, top_k: 0, top_p: 1.0 };

    /// Returns 1/temperature, or 1 for greedy decoding.
    pub fn scale(&self) -> f64 {
        if self.temperature > 0.0 { 1.0 / self.temperature } else { 1.0 }
    }

    /// Returns whether tokens are drawn from the whole softmax, so that the recorded log-probabilities are the policy's
    /// own.
    pub fn is_exact(&self) -> bool {
        self.temperature > 0.0 && self.top_k == 0 && self.top_p >= 1.0
    }

    /// Checks that every option is in range.
    ///
    /// # Errors
    /// Returns a message that names the option and its range.
    pub fn validate(&self) -> Result<(), &'static str> {
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return Err("temperature must be a finite number, 0 (greedy) or more");
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err("top_p must be above 0 and at most 1");
        }
        Ok(())
    }
}

/// The coordinates of the random number that each row of [`Backend::sample`] takes.
#[derive(Clone, Copy, Debug)]
pub struct SampleKeys<'a> {
    /// Seed and purpose of the random numbers.
    pub stream: Stream,
    /// First coordinate of the random numbers, usually the training step.
    pub step: u32,
    /// (rows) number of each row's sequence.
    pub sequence: &'a [u32],
    /// (rows) position of the drawn token in its completion.
    pub token: &'a [u32],
}

/// The outputs of [`Backend::sample`], with one element for each row.
#[derive(Debug)]
pub struct Drawn<'a, T> {
    /// (rows) the tokens that were drawn.
    pub tokens: &'a mut [u32],
    /// (rows) their log-probabilities.
    pub log_prob: &'a mut [T],
    /// (rows) entropies of the distributions, in nats.
    pub entropy: &'a mut [T],
    /// (rows) total probability of the excluded tokens, in the softmax of the whole row at the sampler's temperature.
    pub excluded: &'a mut [T],
}

/// The additional inputs of [`Backend::log_prob_backward`] if a loss depends on the entropies of its rows.
#[derive(Clone, Copy, Debug)]
pub struct EntropyGradient<'a, B> {
    /// (rows) entropies that [`Backend::log_prob`] computed.
    pub entropy: &'a B,
    /// (rows) ∂loss/∂entropy.
    pub d_entropy: &'a B,
}

/// Returns a bit mask that marks `tokens`: bit i mod 32 of element ⌊i/32⌋ stands for token i < `vocab`.
pub fn token_mask(tokens: &[u32], vocab: usize) -> Vec<u32> {
    let mut mask = alloc::vec![0; vocab.div_ceil(32)];
    for token in tokens.iter().filter(|&&token| (token as usize) < vocab) {
        mask[*token as usize / 32] |= 1 << (token % 32);
    }
    mask
}

/// The elements that [`Backend::dropout`] drops. Row r of a matrix draws from (`step`, `first_row` + r, column), so a
/// row has the same mask in every part of a batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutMask {
    /// Probability of dropping an element, in [0, 1).
    pub rate: f64,
    /// Seed and purpose of the random numbers.
    pub stream: Stream,
    /// First coordinate of the random numbers, usually the training step.
    pub step: u32,
    /// Number of the matrix's first row within its batch.
    pub first_row: u32,
}

/// The contents of a buffer. A device that stores some numbers in fewer bits than others uses the role to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Statistics, gradients of weights, moments and log-probabilities, always in the precision of [`Backend::Real`].
    State,
    /// Values that a pass computes row by row, and weights that are not trained.
    Activation,
    /// Logits. A device may store them in more bits than other activations, since a softmax takes differences of large
    /// numbers.
    Logits,
    /// Weights that are trained. The optimiser keeps every bit of [`Backend::Real`], whatever precision the products
    /// read.
    Weight,
}

/// A device with the operations that FlowRL itself needs; `flowrl-lm` adds those of a transformer.
///
/// Buffers are flat vectors of [`Real`]. If a buffer is longer than an operation needs, the operation uses the first
/// rows × columns elements. Matrices are row-major. An operation returns an error that names the argument if a length
/// does not fit. No result depends on the number of threads or on the rest of the batch.
pub trait Backend {
    /// Floating-point type of the values that move between host and device.
    type Real: Real;
    /// Numbers on the device. Several threads may read them at the same time.
    type Buffer: Debug + Sync;
    /// Indices (tokens, rows) on the device. Several threads may read them at the same time.
    type Index: Debug + Sync;
    /// The device's error type.
    type Error: BackendError;

    /// Allocates `len` zeros for [`Role::State`].
    fn zeros(&self, len: usize) -> Result<Self::Buffer, Self::Error>;
    /// Allocates `len` zeros for this role.
    fn zeros_for(&self, role: Role, len: usize) -> Result<Self::Buffer, Self::Error> {
        let _ = role;
        self.zeros(len)
    }
    /// Copies indices to the device.
    fn index(&self, indices: &[u32]) -> Result<Self::Index, Self::Error>;
    /// Returns the number of elements in this buffer.
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// Copies `source` into `target[offset..]`.
    fn write(&self, target: &mut Self::Buffer, offset: usize, source: &[Self::Real]) -> Result<(), Self::Error>;
    /// Copies `source[offset..]` into all of `target`.
    fn read(&self, source: &Self::Buffer, offset: usize, target: &mut [Self::Real]) -> Result<(), Self::Error>;
    /// Copies the first `len` elements of `source` to `target`.
    fn copy(&self, target: &mut Self::Buffer, source: &Self::Buffer, len: usize) -> Result<(), Self::Error>;
    /// Sets the first `len` elements to `value`.
    fn fill(&self, target: &mut Self::Buffer, value: Self::Real, len: usize) -> Result<(), Self::Error>;

    /// Allocates a buffer with these elements.
    fn upload(&self, source: &[Self::Real]) -> Result<Self::Buffer, Self::Error> {
        let mut buffer = self.zeros(source.len())?;
        self.write(&mut buffer, 0, source)?;
        Ok(buffer)
    }

    /// Computes y = x·Wᵀ + b, or adds this to y if `accumulate` is set.
    fn linear(
        &self,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Self::Error>;
    /// Returns W (outputs, inputs) rearranged for [`Backend::linear_prepared`], which pays if W is multiplied with many
    /// x. Returns `None` if `linear` is as fast.
    fn prepare(&self, w: &Self::Buffer, inputs: usize, outputs: usize) -> Result<Option<Self::Buffer>, Self::Error> {
        let _ = (w, inputs, outputs);
        Ok(None)
    }
    /// Computes [`Backend::linear`] with a W that [`Backend::prepare`] rearranged. The result has the same bits.
    fn linear_prepared(
        &self,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Self::Error> {
        self.linear(x, w, bias, y, shape, accumulate)
    }
    /// Computes dx = dy·W, or adds this to dx if `accumulate` is set.
    fn linear_backward_input(
        &self,
        dy: &Self::Buffer,
        w: &Self::Buffer,
        dx: &mut Self::Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Self::Error>;
    /// Adds dyᵀ·x to dW, and the sum over the rows of dy to db.
    fn linear_backward_weight(
        &self,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        dw: &mut Self::Buffer,
        db: Option<&mut Self::Buffer>,
        shape: LinearShape,
    ) -> Result<(), Self::Error>;

    /// Computes y = GELU(x) in its exact form.
    fn gelu(&self, x: &Self::Buffer, y: &mut Self::Buffer, len: usize) -> Result<(), Self::Error>;
    /// Replaces dy by dx, the gradient with respect to the input of GELU.
    fn gelu_backward(&self, x: &Self::Buffer, dy: &mut Self::Buffer, len: usize) -> Result<(), Self::Error>;

    /// Normalises each row of x (rows, columns). `mean` and `inv_std` (rows) are kept for the backward pass.
    fn layer_norm(
        &self,
        x: &Self::Buffer,
        gamma: &Self::Buffer,
        beta: &Self::Buffer,
        y: &mut Self::Buffer,
        mean: &mut Self::Buffer,
        inv_std: &mut Self::Buffer,
        shape: (usize, usize),
        eps: f64,
    ) -> Result<(), Self::Error>;
    /// Replaces dy by dx, and adds to dγ and dβ.
    fn layer_norm_backward(
        &self,
        x: &Self::Buffer,
        gamma: &Self::Buffer,
        mean: &Self::Buffer,
        inv_std: &Self::Buffer,
        dy: &mut Self::Buffer,
        d_gamma: &mut Self::Buffer,
        d_beta: &mut Self::Buffer,
        shape: (usize, usize),
    ) -> Result<(), Self::Error>;
    /// Multiplies each element of a (rows, columns) matrix by 0 with probability `mask.rate`, and otherwise by 1/(1 −
    /// rate). Called on the gradient with the same mask, this is also the backward pass.
    fn dropout(&self, x: &mut Self::Buffer, shape: (usize, usize), mask: DropoutMask) -> Result<(), Self::Error>;

    /// Computes log softmax(z/temperature) at one target of each row, the row's log Σ exp, and its entropy. Logits are
    /// (rows, vocab), everything else is (rows).
    fn log_prob(
        &self,
        logits: &Self::Buffer,
        targets: &Self::Index,
        shape: (usize, usize),
        temperature: f64,
        log_prob: &mut Self::Buffer,
        log_sum_exp: &mut Self::Buffer,
        entropy: &mut Self::Buffer,
    ) -> Result<(), Self::Error>;
    /// Replaces each row of logits by the gradient of `d_log_prob`·log p(target), plus that of `d_entropy`·entropy if
    /// `entropy` is given.
    fn log_prob_backward(
        &self,
        logits: &mut Self::Buffer,
        targets: &Self::Index,
        shape: (usize, usize),
        temperature: f64,
        log_sum_exp: &Self::Buffer,
        d_log_prob: &Self::Buffer,
        entropy: Option<EntropyGradient<'_, Self::Buffer>>,
    ) -> Result<(), Self::Error>;
    /// Draws a token for each row of logits (rows, vocab), but never one that `excluded` marks: see [`token_mask`].
    ///
    /// Log-probabilities and entropies refer to the softmax after temperature, top-k and top-p. Excluded tokens still
    /// count in the softmax of the whole row, so a drawn token's log-probability has the same bits as in
    /// [`Backend::log_prob`].
    fn sample(
        &self,
        logits: &Self::Buffer,
        shape: (usize, usize),
        sampler: &Sampler,
        excluded: Option<&Self::Index>,
        keys: SampleKeys<'_>,
        drawn: Drawn<'_, Self::Real>,
    ) -> Result<(), Self::Error>;

    /// Applies one AdamW step to the first `len` elements.
    fn adamw(
        &self,
        p: &mut Self::Buffer,
        g: &Self::Buffer,
        m: &mut Self::Buffer,
        v: &mut Self::Buffer,
        len: usize,
        step: &AdamWStep,
    ) -> Result<(), Self::Error>;
    /// Returns Σ x² over the first `len` elements, accumulated in double precision in a fixed order.
    fn sum_squares(&self, x: &Self::Buffer, len: usize) -> Result<f64, Self::Error>;

    /// Computes [`Objective::evaluate`], on the device if it has kernels for that. The slices are on the host in both
    /// cases.
    fn evaluate(
        &self,
        objective: &Objective,
        batch: &Batch<'_, Self::Real>,
        totals: Totals,
        order: &mut [usize],
        out: &mut Gradients<'_, Self::Real>,
    ) -> Result<Diagnostics, ObjectiveError<Self::Error>> {
        Ok(objective.evaluate(batch, totals, order, out)?)
    }
    /// Computes [`value_loss`], on the device if it has a kernel for that.
    fn value_loss(
        &self,
        rewards: &[Self::Real],
        values: &[Self::Real],
        sequences: usize,
        d_values: &mut [Self::Real],
    ) -> Result<f64, ObjectiveError<Self::Error>> {
        Ok(value_loss(rewards, values, sequences, d_values)?)
    }
}
