//! A device: buffers, and the operations of FlowRL on them, each coarse enough to be one good GPU kernel.

mod cpu;
mod error;
mod objective;
#[cfg(feature = "std")]
pub(crate) mod packed;
mod pool;
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
    /// Logits are divided by it. 0 means greedy: the most probable token, recorded with its log-probability at temperature 1.
    pub temperature: f64,
    /// Keep the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keep the most probable tokens until their probabilities reach this sum; 1 keeps all.
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

    /// 1/temperature, and 1 for greedy decoding.
    #[must_use]
    pub fn scale(&self) -> f64 {
        if self.temperature > 0.0 { 1.0 / self.temperature } else { 1.0 }
    }

    /// Whether tokens are drawn from the whole softmax, so that the recorded log-probabilities are the policy's own.
    #[must_use]
    pub fn is_exact(&self) -> bool {
        self.temperature > 0.0 && self.top_k == 0 && self.top_p >= 1.0
    }

    /// Says what is wrong with the options, if anything.
    ///
    /// # Errors
    /// The name of the option, and what it should be.
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

/// Where the random number of each row of [`Backend::sample`] comes from.
#[derive(Clone, Copy, Debug)]
pub struct SampleKeys<'a> {
    /// Seed and purpose.
    pub stream: Stream,
    /// The training step, or any other first coordinate.
    pub step: u32,
    /// (rows) sequence number of each row.
    pub sequence: &'a [u32],
    /// (rows) position of the drawn token in its completion.
    pub token: &'a [u32],
}

/// What [`Backend::sample`] writes, an element for each row.
#[derive(Debug)]
pub struct Drawn<'a, T> {
    /// (rows) the token.
    pub tokens: &'a mut [u32],
    /// (rows) its log-probability.
    pub log_prob: &'a mut [T],
    /// (rows) entropy of the distribution, in nats.
    pub entropy: &'a mut [T],
    /// (rows) probability of the excluded tokens together, in the softmax of the whole row at the sampler's temperature.
    pub excluded: &'a mut [T],
}

/// What [`Backend::log_prob_backward`] needs if a loss depends on the entropies of its rows.
#[derive(Clone, Copy, Debug)]
pub struct EntropyGradient<'a, B> {
    /// (rows) entropies, as [`Backend::log_prob`] wrote them.
    pub entropy: &'a B,
    /// (rows) ∂loss/∂entropy.
    pub d_entropy: &'a B,
}

/// Marks tokens: bit i mod 32 of element ⌊i/32⌋ stands for token i < `vocab`.
#[must_use]
pub fn token_mask(tokens: &[u32], vocab: usize) -> Vec<u32> {
    let mut mask = alloc::vec![0; vocab.div_ceil(32)];
    for token in tokens.iter().filter(|&&token| (token as usize) < vocab) {
        mask[*token as usize / 32] |= 1 << (token % 32);
    }
    mask
}

/// Which elements [`Backend::dropout`] drops: row r of a matrix draws from (`step`, `first_row` + r, column), so that a row has
/// the same mask whatever part of a batch it is computed in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DropoutMask {
    /// Probability of dropping an element, in [0, 1).
    pub rate: f64,
    /// Seed and purpose.
    pub stream: Stream,
    /// The training step, or any other first coordinate.
    pub step: u32,
    /// Number of the matrix's first row.
    pub first_row: u32,
}

/// What a buffer will hold. A device that stores some numbers in fewer bits than others decides by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Statistics, gradients of weights, moments, log-probabilities: always at the precision of [`Backend::Real`].
    State,
    /// What a pass computes from row to row, and weights that are not trained.
    Activation,
    /// Logits. A device may hold them at more bits than other activations, since a softmax takes differences of large numbers.
    Logits,
    /// Weights that are trained, of which the optimiser keeps every bit of [`Backend::Real`] whatever the products read.
    Weight,
}

/// A device, with the operations that FlowRL itself needs. What a transformer needs is added by `flowrl-lm`.
///
/// Buffers are flat vectors of [`Real`] that may be longer than an operation needs: it uses the first rows × columns elements.
/// Matrices are row-major. A length that does not fit is an error naming the argument. No result depends on the number of
/// threads or on what else is in the batch.
pub trait Backend {
    /// Precision of what crosses the border between host and device.
    type Real: Real;
    /// Numbers on the device, which threads may read at the same time.
    type Buffer: Debug + Sync;
    /// Indices (tokens, rows) on the device, which threads may read at the same time.
    type Index: Debug + Sync;
    /// What can go wrong.
    type Error: BackendError;

    /// A buffer of `len` zeros for [`Role::State`].
    fn zeros(&self, len: usize) -> Result<Self::Buffer, Self::Error>;
    /// A buffer of `len` zeros for what it will hold.
    fn zeros_for(&self, role: Role, len: usize) -> Result<Self::Buffer, Self::Error> {
        let _ = role;
        self.zeros(len)
    }
    /// Indices on the device.
    fn index(&self, indices: &[u32]) -> Result<Self::Index, Self::Error>;
    /// Elements of a buffer.
    fn len(&self, buffer: &Self::Buffer) -> usize;
    /// Copies `source` into `target[offset..]`.
    fn write(&self, target: &mut Self::Buffer, offset: usize, source: &[Self::Real]) -> Result<(), Self::Error>;
    /// Copies `source[offset..]` into all of `target`.
    fn read(&self, source: &Self::Buffer, offset: usize, target: &mut [Self::Real]) -> Result<(), Self::Error>;
    /// Copies the first `len` elements.
    fn copy(&self, target: &mut Self::Buffer, source: &Self::Buffer, len: usize) -> Result<(), Self::Error>;
    /// Sets the first `len` elements.
    fn fill(&self, target: &mut Self::Buffer, value: Self::Real, len: usize) -> Result<(), Self::Error>;

    /// A buffer with these elements.
    fn upload(&self, source: &[Self::Real]) -> Result<Self::Buffer, Self::Error> {
        let mut buffer = self.zeros(source.len())?;
        self.write(&mut buffer, 0, source)?;
        Ok(buffer)
    }

    /// y = x·Wᵀ + b, or y += x·Wᵀ + b where `accumulate`.
    fn linear(
        &self,
        x: &Self::Buffer,
        w: &Self::Buffer,
        bias: Option<&Self::Buffer>,
        y: &mut Self::Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Self::Error>;
    /// W (outputs, inputs) arranged for [`Backend::linear_prepared`], for a W that meets many x; `None` where `linear` is as fast.
    fn prepare(&self, w: &Self::Buffer, inputs: usize, outputs: usize) -> Result<Option<Self::Buffer>, Self::Error> {
        let _ = (w, inputs, outputs);
        Ok(None)
    }
    /// [`Backend::linear`] with what [`Backend::prepare`] made of W: the same bits.
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
    /// dx = dy·W, or dx += dy·W where `accumulate`.
    fn linear_backward_input(
        &self,
        dy: &Self::Buffer,
        w: &Self::Buffer,
        dx: &mut Self::Buffer,
        shape: LinearShape,
        accumulate: bool,
    ) -> Result<(), Self::Error>;
    /// dW += dyᵀ·x and db += Σ over rows of dy.
    fn linear_backward_weight(
        &self,
        dy: &Self::Buffer,
        x: &Self::Buffer,
        dw: &mut Self::Buffer,
        db: Option<&mut Self::Buffer>,
        shape: LinearShape,
    ) -> Result<(), Self::Error>;

    /// y = GELU(x), exact form.
    fn gelu(&self, x: &Self::Buffer, y: &mut Self::Buffer, len: usize) -> Result<(), Self::Error>;
    /// dy becomes dx.
    fn gelu_backward(&self, x: &Self::Buffer, dy: &mut Self::Buffer, len: usize) -> Result<(), Self::Error>;

    /// Layer normalisation of (rows, columns); `mean` and `inv_std` (rows) are kept for the backward pass.
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
    /// dy becomes dx; dγ and dβ are added to.
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
    /// Multiplies element i of a (rows, columns) matrix by 0 with probability `mask.rate`, else by 1/(1 − rate). Called with the
    /// same mask on the gradient, it is the backward pass.
    fn dropout(&self, x: &mut Self::Buffer, shape: (usize, usize), mask: DropoutMask) -> Result<(), Self::Error>;

    /// log softmax(z/temperature) at one target a row, its log Σ exp, and the entropy. Logits are (rows, vocab), the rest (rows).
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
    /// Replaces each row of logits by the gradient of `d_log_prob`·log p(target), and of `d_entropy`·entropy if there is one.
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
    /// Draws a token for each row of logits (rows, vocab), never one that `excluded` marks: see [`token_mask`].
    ///
    /// Log-probabilities and entropies are those of the softmax after temperature, top-k and top-p. What is excluded counts in the
    /// softmax of the whole row all the same: a drawn token has the bits that [`Backend::log_prob`] gives it.
    fn sample(
        &self,
        logits: &Self::Buffer,
        shape: (usize, usize),
        sampler: &Sampler,
        excluded: Option<&Self::Index>,
        keys: SampleKeys<'_>,
        drawn: Drawn<'_, Self::Real>,
    ) -> Result<(), Self::Error>;

    /// One AdamW step of the first `len` elements.
    fn adamw(
        &self,
        p: &mut Self::Buffer,
        g: &Self::Buffer,
        m: &mut Self::Buffer,
        v: &mut Self::Buffer,
        len: usize,
        step: &AdamWStep,
    ) -> Result<(), Self::Error>;
    /// Σ x² over the first `len` elements, accumulated in double precision in a fixed order.
    fn sum_squares(&self, x: &Self::Buffer, len: usize) -> Result<f64, Self::Error>;

    /// [`Objective::evaluate`], on the device where it has that. Slices are the host's in either case: what comes before is there.
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
    /// [`value_loss`], on the device where it has that.
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
