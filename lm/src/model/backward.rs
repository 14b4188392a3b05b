//! The backward pass, derived by hand.

use flowrl_core::Real;
use flowrl_core::backend::{EntropyGradient, LinearShape};

use super::arena::{Arena, Keep, chunk_rows};
use super::forward::{Attend, Input, Transformer, layer_forward};
use super::{Packed, Weights};
use crate::backend::TransformerBackend;

/// The reason why an arena holds the activations and their gradients.
const KEPT: &str = "a forward pass kept its activations";

impl<B: TransformerBackend> Transformer<B> {
    /// Adds to `grads` the gradient of Σ d_log_prob·log p + Σ d_entropy·entropy + Σ d_mean_hidden·(mean hidden
    /// state of each prompt).
    ///
    /// The gradient is that of the last pass of [`Transformer::log_probs`].
    ///
    /// # Panics
    /// If that pass did not keep its activations.
    pub fn backward(
        &mut self,
        weights: &Weights<B::Buffer>,
        grads: &mut Weights<B::Buffer>,
        packed: &Packed,
        temperature: f64,
        d_log_prob: &[B::Real],
        d_entropy: Option<&[B::Real]>,
        d_mean_hidden: Option<&B::Buffer>,
    ) -> Result<(), B::Error> {
        let (backend, dims) = (&self.backend, &self.dims);
        let arena = self.arena.as_mut().expect(KEPT);
        let rows = packed.ids.len();
        let shape = (rows, dims.hidden);
        let input = Input { rows, ids: backend.index(&packed.ids)?, positions: backend.index(&packed.positions)? };
        head_backward(backend, arena, weights, grads, packed, temperature, d_log_prob, d_entropy, self.dims.vocab)?;
        let Arena { stream, layers, final_inv_rms, keep, deltas, .. } = arena;
        let deltas = deltas.as_mut().expect(KEPT);
        if let Some(d_mean) = d_mean_hidden {
            backend.mean_rows_backward(d_mean, &packed.prompts, dims.hidden, &mut deltas.normed)?;
        }
        backend.fill(&mut deltas.stream, B::Real::of(0.0), rows * dims.hidden)?;
        let last = &stream[dims.layers];
        let (dx, dw) = (&mut deltas.stream, &mut grads.norm);
        backend.rms_norm_backward(&deltas.normed, last, &weights.norm, final_inv_rms, shape, dx, dw)?;
        for l in (0..dims.layers).rev() {
            let (w, g, x) = (&weights.layers[l], &mut grads.layers[l], &stream[l]);
            let a = &mut layers[if *keep == Keep::Everything { l } else { 0 }];
            if *keep == Keep::Inputs {
                let attend = &mut Attend::Packed(&packed.layout);
                layer_forward(backend, dims, (w, None), &self.rotary, &input, x, a, attend, l)?;
            }
            let down = dims.down(rows);
            backend.linear_backward_weight(&deltas.stream, &a.mlp_hidden, &mut g.down, None, down)?;
            backend.linear_backward_input(&deltas.stream, &w.down, &mut deltas.mlp_hidden, down, false)?;
            backend.swiglu_backward(&a.gate_up, &deltas.mlp_hidden, (rows, dims.intermediate), &mut deltas.gate_up)?;
            let gate_up = dims.gate_up(rows);
            backend.linear_backward_weight(&deltas.gate_up, &a.mlp_in, &mut g.gate_up, None, gate_up)?;
            backend.linear_backward_input(&deltas.gate_up, &w.gate_up, &mut deltas.normed, gate_up, false)?;
            let (dx, dw) = (&mut deltas.stream, &mut g.mlp_norm);
            backend.rms_norm_backward(&deltas.normed, &a.middle, &w.mlp_norm, &a.mlp_inv_rms, shape, dx, dw)?;

            let out = dims.attention_out(rows);
            backend.linear_backward_weight(&deltas.stream, &a.attention_out, &mut g.o, g.o_bias.as_mut(), out)?;
            backend.linear_backward_input(&deltas.stream, &w.o, &mut deltas.attention, out, false)?;
            backend.attention_backward(
                &a.qkv,
                &a.attention_out,
                &a.log_sum_exp,
                &deltas.attention,
                &packed.layout,
                dims.heads,
                &mut deltas.qkv,
            )?;
            let (cos, sin) = (&self.rotary.cos, &self.rotary.sin);
            backend.rope(&mut deltas.qkv, &input.positions, cos, sin, rows, dims.heads, true)?;
            if let (Some(w_q), Some(w_k), Some(g_q), Some(g_k)) = (&w.q_norm, &w.k_norm, &mut g.q_norm, &mut g.k_norm) {
                let (raw, norms, d_qkv) = (&a.qkv_raw, &a.qk_inv_rms, &mut deltas.qkv);
                backend.qk_norm_backward(raw, w_q, w_k, norms, rows, dims.heads, d_qkv, g_q, g_k)?;
            }
            let qkv = dims.qkv(rows);
            backend.linear_backward_weight(&deltas.qkv, &a.attention_in, &mut g.qkv, g.qkv_bias.as_mut(), qkv)?;
            backend.linear_backward_input(&deltas.qkv, &w.qkv, &mut deltas.normed, qkv, false)?;
            let (dx, dw) = (&mut deltas.stream, &mut g.attention_norm);
            backend.rms_norm_backward(&deltas.normed, x, &w.attention_norm, &a.attention_inv_rms, shape, dx, dw)?;
        }
        backend.scatter_add(&deltas.stream, &input.ids, shape, &mut grads.embed)
    }
}

/// Computes the gradient of the normed hidden states, in `deltas.normed`, from that of the log-probabilities.
///
/// If all logits fit one chunk, they are still there from the forward pass; otherwise they are recomputed one
/// chunk at a time.
fn head_backward<B: TransformerBackend>(
    backend: &B,
    arena: &mut Arena<B::Buffer>,
    weights: &Weights<B::Buffer>,
    grads: &mut Weights<B::Buffer>,
    packed: &Packed,
    temperature: f64,
    d_log_prob: &[B::Real],
    d_entropy: Option<&[B::Real]>,
    vocab: usize,
) -> Result<(), B::Error> {
    let Arena { hidden, selected, logits, log_prob, log_sum_exp, entropy, deltas, .. } = arena;
    let deltas = deltas.as_mut().expect(KEPT);
    let d = backend.len(&weights.norm);
    let n = packed.targets.len();
    let chunk = chunk_rows(backend.logits_limit(), vocab, n);
    backend.fill(&mut deltas.normed, B::Real::of(0.0), packed.ids.len() * d)?;
    let head = weights.head();
    let d_head = grads.head.as_mut().unwrap_or(&mut grads.embed);
    for start in (0..n).step_by(chunk) {
        let rows = chunk.min(n - start);
        let shape = LinearShape { rows, inputs: d, outputs: vocab };
        let at = backend.index(&packed.rows[start..start + rows])?;
        let targets = backend.index(&packed.targets[start..start + rows])?;
        if n > chunk {
            backend.embed(hidden, &at, (rows, d), selected)?;
            backend.linear(selected, head, None, logits, shape, false)?;
            backend.log_prob(logits, &targets, (rows, vocab), temperature, log_prob, log_sum_exp, entropy)?;
        }
        backend.write(log_prob, 0, &d_log_prob[start..start + rows])?;
        let d_entropy = d_entropy.map(|d| backend.upload(&d[start..start + rows])).transpose()?;
        let of_entropy = d_entropy.as_ref().map(|d_entropy| EntropyGradient { entropy, d_entropy });
        backend.log_prob_backward(logits, &targets, (rows, vocab), temperature, log_sum_exp, log_prob, of_entropy)?;
        backend.linear_backward_weight(logits, selected, d_head, None, shape)?;
        backend.linear_backward_input(logits, head, &mut deltas.selected, shape, false)?;
        backend.scatter_add(&deltas.selected, &at, (rows, d), &mut deltas.normed)?;
    }
    Ok(())
}
