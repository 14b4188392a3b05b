//! One decoder-only transformer over a [`TransformerBackend`](crate::backend::TransformerBackend): Qwen2, Qwen3 and Llama, by flags.

mod arena;
mod backward;
mod forward;
mod packed;
mod prepared;
mod weights;

pub use arena::{Keep, Planned, memory_plan};
pub use forward::{Attend, Transformer};
pub use packed::Packed;
pub use prepared::Prepared;
pub use weights::{LayerWeights, Part, Weights};

use crate::backend::Heads;
use flowrl_core::backend::LinearShape;

/// The dimensions and flags of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Dimensions {
    /// Tokens.
    pub vocab: usize,
    /// Elements of a hidden state, d.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Attention heads.
    pub heads: Heads,
    /// Elements between the two products of the feed-forward part.
    pub intermediate: usize,
    /// ε of the RMS norms.
    pub rms_eps: f64,
    /// Bias on queries, keys and values.
    pub qkv_bias: bool,
    /// Bias on the attention's output.
    pub o_bias: bool,
    /// RMS norm of every query and key head.
    pub qk_norm: bool,
    /// The output layer is the embedding.
    pub tied: bool,
    /// Rotary frequencies (head_dim/2), radians per position.
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
