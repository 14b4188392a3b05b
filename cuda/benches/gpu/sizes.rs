//! Problem sizes: those that are measured, and tiny ones for the emulator.

use flowrl_lm::backend::Heads;
use flowrl_lm::model::{Dimensions, Weights};
use serde_json::json;

pub(crate) struct Sizes {
    /// Number of turns in which each row is timed once.
    pub(crate) turns: usize,
    /// Rows and columns of the logits.
    pub(crate) logits: (usize, usize),
    /// Widths of the hidden states from which the head computes log-probabilities.
    pub(crate) widths: &'static [usize],
    /// Sequences, and tokens of each, in a batch for trajectory balance.
    pub(crate) batch: (usize, usize),
    /// Number of prompts for the partition network.
    pub(crate) prompts: usize,
    pub(crate) model: Dimensions,
    pub(crate) updates: [Texts; 2],
}

/// The numbers and lengths of prompts and completions.
#[derive(Clone, Copy)]
pub(crate) struct Texts {
    pub(crate) prompts: usize,
    /// Completions of each prompt.
    pub(crate) samples: usize,
    /// Tokens of each prompt.
    pub(crate) prompt_len: usize,
    /// Tokens of each completion.
    pub(crate) len: usize,
}

impl Sizes {
    pub(crate) fn full() -> Self {
        let heads = Heads { heads: 14, kv_heads: 2, head_dim: 64 };
        let texts = |prompts, samples| Texts { prompts, samples, prompt_len: 128, len: 128 };
        Self {
            turns: 20,
            logits: (8192, 151_936),
            widths: &[896, 1536, 3584],
            batch: (512, 8192),
            prompts: 512,
            model: model(151_936, 896, 24, heads, 4864),
            updates: [texts(4, 8), texts(32, 1)],
        }
    }

    pub(crate) fn smoke() -> Self {
        let heads = Heads { heads: 2, kv_heads: 1, head_dim: 8 };
        let texts = |prompts, samples| Texts { prompts, samples, prompt_len: 4, len: 5 };
        Self {
            turns: 2,
            logits: (8, 200),
            widths: &[16],
            batch: (8, 32),
            prompts: 6,
            model: model(50, 16, 2, heads, 32),
            updates: [texts(2, 2), texts(3, 1)],
        }
    }
}

impl Texts {
    pub(crate) const fn completions(&self) -> usize {
        self.prompts * self.samples
    }

    /// Returns the number of completion tokens.
    pub(crate) const fn scored(&self) -> usize {
        self.completions() * self.len
    }

    /// Returns the number of tokens if each prompt is read once for all of its completions.
    pub(crate) const fn tokens(&self) -> usize {
        self.prompts * self.prompt_len + self.scored()
    }

    /// Returns the number of (token, attended token) pairs if each prompt is read once.
    pub(crate) fn pairs(&self) -> f64 {
        let within = |n: usize| n as f64 * (n + 1) as f64 / 2.0;
        let of_completion = (self.len * self.prompt_len) as f64 + within(self.len);
        self.prompts as f64 * within(self.prompt_len) + self.completions() as f64 * of_completion
    }
}

/// Returns the dimensions of a model with the architecture of Qwen2.5.
fn model(vocab: usize, hidden: usize, layers: usize, heads: Heads, intermediate: usize) -> Dimensions {
    let half = heads.head_dim / 2;
    Dimensions {
        vocab,
        hidden,
        layers,
        heads,
        intermediate,
        rms_eps: 1e-6,
        qkv_bias: true,
        o_bias: false,
        qk_norm: false,
        tied: true,
        frequencies: (0..half).map(|i| 1e6_f64.powf(-(i as f64) / half as f64)).collect(),
    }
}

/// Returns the model's `config.json` in the format of the Qwen2 family.
pub(crate) fn config(dims: &Dimensions) -> String {
    let config = json!({
        "hidden_size": dims.hidden,
        "num_hidden_layers": dims.layers,
        "num_attention_heads": dims.heads.heads,
        "num_key_value_heads": dims.heads.kv_heads,
        "intermediate_size": dims.intermediate,
        "vocab_size": dims.vocab,
        "max_position_embeddings": 32_768,
        "rms_norm_eps": dims.rms_eps,
        "rope_theta": 1e6,
        "tie_word_embeddings": dims.tied,
    });
    config.to_string()
}

/// Returns the number of all parameters, and of those in the matrices of the layers.
pub(crate) fn parameters(dims: &Dimensions) -> (f64, f64) {
    let parts = Weights::parts(dims);
    let all = parts.iter().map(|part| part.elements()).sum::<usize>() as f64;
    let matrices = parts.iter().filter(|part| part.shape.len() == 2 && part.name.contains(".layers."));
    (all, matrices.map(|part| part.elements()).sum::<usize>() as f64)
}
