//! A decoder-only transformer over a [`TransformerBackend`](crate::backend::TransformerBackend), which flags
//! make a Qwen2, Qwen3 or Llama.

mod arena;
mod backward;
mod forward;
mod packed;
mod prepared;
mod weights;

pub use arena::{Keep, Planned, memory_plan};
pub(crate) use forward::Attend;
pub use forward::Transformer;
pub use packed::Packed;
pub(crate) use prepared::Prepared;
pub use weights::{LayerWeights, Part, Weights};

use crate::backend::Heads;
use flowrl_core::backend::LinearShape;

/// The dimensions and flags of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimensions {
    /// Size of the vocabulary.
    pub vocab: usize,
    /// Elements of a hidden state, d.
    pub hidden: usize,
    /// Number of layers.
    pub layers: usize,
    /// Head counts and head size of the attention.
    pub heads: Heads,
    /// Elements between the two products of the feed-forward network, ff.
    pub intermediate: usize,
    /// The ε of the RMS norms.
    pub rms_eps: f64,
    /// Whether queries, keys and values have a bias.
    pub qkv_bias: bool,
    /// Whether the output of the attention has a bias.
    pub o_bias: bool,
    /// Whether every query and key head has an RMS norm.
    pub qk_norm: bool,
    /// Whether the output layer shares the matrix of the embedding.
    pub tied: bool,
    /// Rotary frequencies (head_dim/2) in radians per position: θ^(−2i/head_dim), stretched to longer contexts.
    pub frequencies: Vec<f64>,
}

impl Dimensions {
    fn qkv(&self, rows: usize) -> LinearShape {
        LinearShape { rows, inputs: self.hidden, outputs: self.heads.qkv_width() }
    }

    fn attention_out(&self, rows: usize) -> LinearShape {
        LinearShape { rows, inputs: self.heads.q_width(), outputs: self.hidden }
    }

    fn gate_up(&self, rows: usize) -> LinearShape {
        LinearShape { rows, inputs: self.hidden, outputs: 2 * self.intermediate }
    }

    fn down(&self, rows: usize) -> LinearShape {
        LinearShape { rows, inputs: self.intermediate, outputs: self.hidden }
    }

    fn logits(&self, rows: usize) -> LinearShape {
        LinearShape { rows, inputs: self.hidden, outputs: self.vocab }
    }
}
