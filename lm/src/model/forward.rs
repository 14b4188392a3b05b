//! The forward pass.

use flowrl_core::Real;
use flowrl_core::backend::Backend;
use flowrl_core::policy::Scores;

use super::arena::{Arena, Keep, LayerActivations, chunk_rows};
use super::prepared::{PreparedLayer, linear};
use super::{Dimensions, LayerWeights, Packed, Prepared, Weights};
use crate::backend::{Layout, Span, TransformerBackend};
use crate::kernel::rotary_table;

/// The source of keys and values.
#[derive(Debug)]
pub(crate) enum Attend<'a, T> {
    /// The packed rows themselves.
    Packed(&'a Layout),
    /// The packed rows, which are also stored in the cache of each layer, row r at `slots[r]`.
    Prefill(&'a Layout, &'a mut [T], &'a [u32]),
    /// The cache: row r is stored at `slots[r]`, then attends to `spans[r]` of the cache.
    Decode(&'a mut [T], &'a [u32], &'a [Span]),
}

/// A model of some dimensions on a device, with its arena of activations.
///
/// Weights are passed to every call, so that a policy and its reference can share one model. Every function
/// returns an error if the device fails or a token is outside the vocabulary.
#[derive(Debug)]
pub struct Transformer<B: Backend> {
    pub(super) backend: B,
    pub(super) dims: Dimensions,
    pub(super) rotary: Rotary<B>,
    pub(super) arena: Option<Arena<B::Buffer>>,
}

/// Tables of cos and sin for the positions so far, (positions, head_dim/2).
#[derive(Debug)]
pub(super) struct Rotary<B: Backend> {
    pub positions: usize,
    pub cos: B::Buffer,
    pub sin: B::Buffer,
}

/// Rows of tokens on the device.
#[derive(Debug)]
pub(super) struct Input<I> {
    pub rows: usize,
    pub ids: I,
    pub positions: I,
}

impl<B: TransformerBackend> Transformer<B> {
    /// Creates a model of these dimensions on a device.
    pub fn new(backend: B, dims: Dimensions) -> Result<Self, B::Error> {
        let rotary = Rotary { positions: 0, cos: backend.zeros(0)?, sin: backend.zeros(0)? };
        Ok(Self { backend, dims, rotary, arena: None })
    }

    /// Returns the device of this model.
    pub const fn backend(&self) -> &B {
        &self.backend
    }

    /// Returns the dimensions and flags of this model.
    pub const fn dims(&self) -> &Dimensions {
        &self.dims
    }

    /// Returns log-probabilities and entropies of the predictions of `packed`, and keeps the activations that `keep`
    /// asks for.
    pub fn log_probs(
        &mut self,
        weights: &Weights<B::Buffer>,
        packed: &Packed,
        temperature: f64,
        keep: Keep,
    ) -> Result<Scores<B::Real>, B::Error> {
        let n = packed.targets.len();
        let mut scores = Scores { log_probs: vec![B::Real::of(0.0); n], entropies: vec![B::Real::of(0.0); n] };
        let chunk = chunk_rows(self.backend.logits_limit(), self.dims.vocab, n);
        self.reserve((packed.ids.len(), n, chunk), keep)?;
        self.run(weights, None, &packed.ids, &packed.positions, Attend::Packed(&packed.layout))?;
        let arena = self.arena.as_mut().expect("reserve made it");
        let (backend, dims) = (&self.backend, &self.dims);
        for start in (0..n).step_by(chunk) {
            let rows = chunk.min(n - start);
            let (rows_at, targets) = (&packed.rows[start..start + rows], &packed.targets[start..start + rows]);
            let (rows_at, targets) = (backend.index(rows_at)?, backend.index(targets)?);
            backend.embed(&arena.hidden, &rows_at, (rows, dims.hidden), &mut arena.selected)?;
            backend.linear(&arena.selected, weights.head(), None, &mut arena.logits, dims.logits(rows), false)?;
            let (lp, lse, h) = (&mut arena.log_prob, &mut arena.log_sum_exp, &mut arena.entropy);
            backend.log_prob(&arena.logits, &targets, (rows, dims.vocab), temperature, lp, lse, h)?;
            backend.read(lp, 0, &mut scores.log_probs[start..start + rows])?;
            backend.read(h, 0, &mut scores.entropies[start..start + rows])?;
        }
        Ok(scores)
    }

    /// Computes the mean hidden state of each prompt of the last pass; `out` is (prompts, d).
    ///
    /// # Panics
    /// If there was no pass.
    pub fn mean_hidden(&self, prompts: &[(usize, usize)], out: &mut B::Buffer) -> Result<(), B::Error> {
        let arena = self.arena.as_ref().expect("a pass came before");
        self.backend.mean_rows(&arena.hidden, prompts, self.dims.hidden, out)
    }

    /// Runs rows through the model and computes the logits of `rows` (indices of rows), for
    /// [`Transformer::last_logits`]. `prepared` holds the matrices of `weights` in another arrangement, which
    /// changes no bit of the result.
    pub(crate) fn logits(
        &mut self,
        weights: &Weights<B::Buffer>,
        prepared: Option<&Prepared<B::Buffer>>,
        ids: &[u32],
        positions: &[u32],
        attend: Attend<'_, B::Buffer>,
        rows: &[u32],
    ) -> Result<(), B::Error> {
        self.reserve((ids.len(), 0, rows.len()), Keep::Nothing)?;
        self.run(weights, prepared, ids, positions, attend)?;
        let (backend, dims) = (&self.backend, &self.dims);
        let arena = self.arena.as_mut().expect("reserve made it");
        let at = backend.index(rows)?;
        backend.embed(&arena.hidden, &at, (rows.len(), dims.hidden), &mut arena.selected)?;
        let head = (weights.head(), prepared.map(|p| &p.head));
        linear(backend, &arena.selected, head, None, &mut arena.logits, dims.logits(rows.len()), false)
    }

    /// Returns the logits of the last call of [`Transformer::logits`], (rows, vocab).
    ///
    /// # Panics
    /// Panics if there was no pass before.
    pub(crate) fn last_logits(&self) -> &B::Buffer {
        &self.arena.as_ref().expect("a pass came before").logits
    }

    /// Grows the arena to hold a pass of this size.
    fn reserve(&mut self, size: (usize, usize, usize), keep: Keep) -> Result<(), B::Error> {
        let (size, keep) = match &self.arena {
            Some(arena) if arena.fits(size, keep) => return Ok(()),
            Some(arena) => {
                let (rows, predictions, chunk) = size;
                let size = (rows.max(arena.rows), predictions.max(arena.predictions), chunk.max(arena.chunk));
                (size, keep.max(arena.keep))
            }
            None => (size, keep),
        };
        // The old arena is freed before the new one is allocated.
        self.arena = None;
        self.arena = Some(Arena::plan(&self.dims, size, keep, |role, _, len| self.backend.zeros_for(role, len))?);
        Ok(())
    }

    /// Runs embedding, layers and the last norm.
    fn run(
        &mut self,
        weights: &Weights<B::Buffer>,
        prepared: Option<&Prepared<B::Buffer>>,
        ids: &[u32],
        positions: &[u32],
        mut attend: Attend<'_, B::Buffer>,
    ) -> Result<(), B::Error> {
        self.rotary.grow(&self.backend, &self.dims, positions)?;
        let (backend, dims) = (&self.backend, &self.dims);
        let arena = self.arena.as_mut().expect("reserve made it");
        let input = Input { rows: ids.len(), ids: backend.index(ids)?, positions: backend.index(positions)? };
        let shape = (input.rows, dims.hidden);
        backend.embed(&weights.embed, &input.ids, shape, &mut arena.stream[0])?;
        let keeps_streams = arena.stream.len() > 2;
        for (l, layer) in weights.layers.iter().enumerate() {
            let kept = if arena.layers.len() == 1 { 0 } else { l };
            let [from, to] = if keeps_streams { [l, l + 1] } else { [l % 2, (l + 1) % 2] };
            let Ok([x, y]) = arena.stream.get_disjoint_mut([from, to]) else { break };
            let a = &mut arena.layers[kept];
            let prepared = prepared.map(|p| &p.layers[l]);
            layer_forward(backend, dims, (layer, prepared), &self.rotary, &input, x, a, &mut attend, l)?;
            backend.copy(y, &a.middle, input.rows * dims.hidden)?;
            let down = (&layer.down, prepared.map(|p| &p.down));
            linear(backend, &a.mlp_hidden, down, None, y, dims.down(input.rows), true)?;
        }
        let last = if keeps_streams { dims.layers } else { dims.layers % 2 };
        let (hidden, inv_rms) = (&mut arena.hidden, &mut arena.final_inv_rms);
        backend.rms_norm(&arena.stream[last], &weights.norm, dims.rms_eps, shape, hidden, inv_rms)
    }
}

impl<B: TransformerBackend> Rotary<B> {
    /// Extends the tables to cover every position.
    fn grow(&mut self, backend: &B, dims: &Dimensions, positions: &[u32]) -> Result<(), B::Error> {
        let wanted = positions.iter().max().map_or(0, |&p| p as usize + 1);
        if wanted > self.positions {
            let size = wanted.next_power_of_two();
            let (cos, sin) = rotary_table::<B::Real>(size, &dims.frequencies);
            *self = Self { positions: size, cos: backend.upload(&cos)?, sin: backend.upload(&sin)? };
        }
        Ok(())
    }
}

/// Runs one layer up to the hidden part of its feed-forward network: everything but the last product, whose
/// result is the next residual stream.
pub(super) fn layer_forward<B: TransformerBackend>(
    backend: &B,
    dims: &Dimensions,
    (w, prepared): (&LayerWeights<B::Buffer>, Option<&PreparedLayer<B::Buffer>>),
    rotary: &Rotary<B>,
    input: &Input<B::Index>,
    x: &B::Buffer,
    a: &mut LayerActivations<B::Buffer>,
    attend: &mut Attend<'_, B::Buffer>,
    index: usize,
) -> Result<(), B::Error> {
    let (rows, heads, eps) = (input.rows, dims.heads, dims.rms_eps);
    let shape = (rows, dims.hidden);
    backend.rms_norm(x, &w.attention_norm, eps, shape, &mut a.attention_in, &mut a.attention_inv_rms)?;
    let qkv = (&w.qkv, prepared.map(|p| &p.qkv));
    if let (Some(w_q), Some(w_k)) = (&w.q_norm, &w.k_norm) {
        linear(backend, &a.attention_in, qkv, w.qkv_bias.as_ref(), &mut a.qkv_raw, dims.qkv(rows), false)?;
        backend.qk_norm(&a.qkv_raw, w_q, w_k, eps, rows, heads, &mut a.qkv, &mut a.qk_inv_rms)?;
    } else {
        linear(backend, &a.attention_in, qkv, w.qkv_bias.as_ref(), &mut a.qkv, dims.qkv(rows), false)?;
    }
    backend.rope(&mut a.qkv, &input.positions, &rotary.cos, &rotary.sin, rows, heads, false)?;
    match attend {
        Attend::Packed(layout) => {
            backend.attention(&a.qkv, layout, heads, &mut a.attention_out, &mut a.log_sum_exp)?;
        }
        Attend::Prefill(layout, cache, slots) => {
            backend.cache_store(&a.qkv, slots, heads, &mut cache[index])?;
            backend.attention(&a.qkv, layout, heads, &mut a.attention_out, &mut a.log_sum_exp)?;
        }
        Attend::Decode(cache, slots, spans) => {
            backend.cache_store(&a.qkv, slots, heads, &mut cache[index])?;
            backend.cached_attention(&a.qkv, &cache[index], spans, heads, &mut a.attention_out)?;
        }
    }
    backend.copy(&mut a.middle, x, rows * dims.hidden)?;
    let o = (&w.o, prepared.map(|p| &p.o));
    linear(backend, &a.attention_out, o, w.o_bias.as_ref(), &mut a.middle, dims.attention_out(rows), true)?;
    backend.rms_norm(&a.middle, &w.mlp_norm, eps, shape, &mut a.mlp_in, &mut a.mlp_inv_rms)?;
    let gate_up = (&w.gate_up, prepared.map(|p| &p.gate_up));
    linear(backend, &a.mlp_in, gate_up, None, &mut a.gate_up, dims.gate_up(rows), false)?;
    backend.swiglu(&a.gate_up, (rows, dims.intermediate), &mut a.mlp_hidden)
}
