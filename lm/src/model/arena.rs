//! Buffers for activations, planned once and reused by every pass.

use std::convert::Infallible;

use flowrl_core::backend::Role;

use super::Dimensions;

/// The activations that a forward pass keeps for a backward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Keep {
    /// No activations, for scoring and generation.
    Nothing,
    /// The input of every layer. The backward pass recomputes the rest, which takes about a third more time but
    /// only the memory of one layer's other activations.
    Inputs,
    /// All activations.
    Everything,
}

/// Activations of one layer.
#[derive(Debug)]
pub(super) struct LayerActivations<T> {
    pub attention_inv_rms: T,
    pub attention_in: T,
    /// Queries, keys and values before the norm of heads; empty if the model has none.
    pub qkv_raw: T,
    pub qk_inv_rms: T,
    pub qkv: T,
    pub log_sum_exp: T,
    pub attention_out: T,
    pub middle: T,
    pub mlp_inv_rms: T,
    pub mlp_in: T,
    pub gate_up: T,
    pub mlp_hidden: T,
}

/// Gradients of activations.
#[derive(Debug)]
pub(super) struct Deltas<T> {
    pub stream: T,
    pub normed: T,
    pub attention: T,
    pub qkv: T,
    pub mlp_hidden: T,
    pub gate_up: T,
    pub selected: T,
}

/// Every activation of a pass over at most `rows` rows, `predictions` predictions and `chunk` rows of logits.
#[derive(Debug)]
pub(super) struct Arena<T> {
    pub rows: usize,
    pub predictions: usize,
    pub chunk: usize,
    pub keep: Keep,
    /// The residual stream before each layer and after the last one; two buffers to swap if nothing is kept.
    pub stream: Vec<T>,
    pub layers: Vec<LayerActivations<T>>,
    pub final_inv_rms: T,
    pub hidden: T,
    pub selected: T,
    pub logits: T,
    pub log_prob: T,
    pub log_sum_exp: T,
    pub entropy: T,
    pub deltas: Option<Deltas<T>>,
}

impl<T> Arena<T> {
    /// Asks `request` for every buffer, by a role, a name and a number of elements. This is the only place that knows
    /// their sizes.
    pub(super) fn plan<E>(
        dims: &Dimensions,
        (rows, predictions, chunk): (usize, usize, usize),
        keep: Keep,
        mut request: impl FnMut(Role, &'static str, usize) -> Result<T, E>,
    ) -> Result<Self, E> {
        let (d, ff, heads) = (dims.hidden, dims.intermediate, dims.heads);
        let training = keep > Keep::Nothing;
        let streams = if training { dims.layers + 1 } else { 2 };
        let layers = if keep == Keep::Everything { dims.layers } else { 1 };
        let stream =
            (0..streams).map(|_| request(Role::Activation, "residual stream", rows * d)).collect::<Result<_, E>>()?;
        let layers = (0..layers)
            .map(|_| {
                let (raw, norms) = if dims.qk_norm {
                    (rows * heads.qkv_width(), rows * (heads.heads + heads.kv_heads))
                } else {
                    (0, 0)
                };
                Ok(LayerActivations {
                    attention_inv_rms: request(Role::State, "norms", rows)?,
                    attention_in: request(Role::Activation, "attention input", rows * d)?,
                    qkv_raw: request(Role::Activation, "queries, keys, values before their norm", raw)?,
                    qk_inv_rms: request(Role::State, "norms", norms)?,
                    qkv: request(Role::Activation, "queries, keys, values", rows * heads.qkv_width())?,
                    log_sum_exp: request(Role::State, "attention log-sum-exp", rows * heads.heads)?,
                    attention_out: request(Role::Activation, "attention output", rows * heads.q_width())?,
                    middle: request(Role::Activation, "residual stream", rows * d)?,
                    mlp_inv_rms: request(Role::State, "norms", rows)?,
                    mlp_in: request(Role::Activation, "feed-forward input", rows * d)?,
                    gate_up: request(Role::Activation, "gate and up", rows * 2 * ff)?,
                    mlp_hidden: request(Role::Activation, "feed-forward hidden", rows * ff)?,
                })
            })
            .collect::<Result<_, E>>()?;
        let deltas = if training {
            Some(Deltas {
                stream: request(Role::Activation, "gradients of activations", rows * d)?,
                normed: request(Role::Activation, "gradients of activations", rows * d)?,
                attention: request(Role::Activation, "gradients of activations", rows * heads.q_width())?,
                qkv: request(Role::Activation, "gradients of activations", rows * heads.qkv_width())?,
                mlp_hidden: request(Role::Activation, "gradients of activations", rows * ff)?,
                gate_up: request(Role::Activation, "gradients of activations", rows * 2 * ff)?,
                selected: request(Role::Activation, "gradients of activations", chunk * d)?,
            })
        } else {
            None
        };
        Ok(Self {
            rows,
            predictions,
            chunk,
            keep,
            stream,
            layers,
            final_inv_rms: request(Role::State, "norms", rows)?,
            hidden: request(Role::Activation, "hidden states", rows * d)?,
            selected: request(Role::Activation, "hidden states of predictions", chunk * d)?,
            logits: request(Role::Logits, "logits", chunk * dims.vocab)?,
            log_prob: request(Role::State, "log-probabilities", predictions)?,
            log_sum_exp: request(Role::State, "log-probabilities", predictions)?,
            entropy: request(Role::State, "log-probabilities", predictions)?,
            deltas,
        })
    }

    /// Returns whether a pass of this size fits this arena.
    pub(super) fn fits(&self, (rows, predictions, chunk): (usize, usize, usize), keep: Keep) -> bool {
        self.rows >= rows && self.predictions >= predictions && self.chunk >= chunk && self.keep >= keep
    }
}

/// The activations of one kind in a [`memory_plan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Name of the activations.
    pub what: &'static str,
    /// Role by which a device chooses their type.
    pub role: Role,
    /// Number of elements held at once.
    pub elements: usize,
}

/// Returns the activations of a pass of `rows` rows and `predictions` predictions, in order of first use, on a
/// device that holds `logits` logits at once
/// ([`TransformerBackend::logits_limit`](crate::backend::TransformerBackend::logits_limit)).
pub fn memory_plan(dims: &Dimensions, rows: usize, predictions: usize, logits: usize, keep: Keep) -> Vec<Planned> {
    let mut plan: Vec<Planned> = Vec::new();
    let size = (rows, predictions, chunk_rows(logits, dims.vocab, predictions));
    let Ok(_) = Arena::<()>::plan(dims, size, keep, |role, what, elements| {
        match plan.iter_mut().find(|planned| (planned.what, planned.role) == (what, role)) {
            Some(planned) => planned.elements += elements,
            None => plan.push(Planned { what, role, elements }),
        }
        Ok::<(), Infallible>(())
    });
    plan
}

/// Returns how many rows of logits are held at once: all of them, or as many as have at most `limit` elements.
pub(super) fn chunk_rows(limit: usize, vocab: usize, predictions: usize) -> usize {
    (limit / vocab.max(1)).clamp(1, predictions.max(1))
}
