//! Tiny random models that cover every combination of flags in use.

use flowrl_core::Real;
use flowrl_core::backend::{Backend, CpuBackend};
use flowrl_core::random::{Purpose, Stream};
use flowrl_lm::TransformerPolicy;
use flowrl_lm::backend::Heads;
use flowrl_lm::model::{Dimensions, Part, Weights};

/// Flags (qkv bias, output bias, QK norm, tied) of the models.
pub(crate) const FLAGS: [(bool, bool, bool, bool); 4] =
    [(true, false, false, true), (false, false, true, true), (false, false, false, false), (true, true, true, false)];

pub(crate) fn dims((qkv_bias, o_bias, qk_norm, tied): (bool, bool, bool, bool)) -> Dimensions {
    let heads = Heads { heads: 4, kv_heads: 2, head_dim: 6 };
    Dimensions {
        vocab: 19,
        hidden: 20,
        layers: 3,
        heads,
        intermediate: 28,
        rms_eps: 1e-6,
        qkv_bias,
        o_bias,
        qk_norm,
        tied,
        frequencies: (0..3).map(|i| 100_f64.powf(-f64::from(i) / 3.0)).collect(),
    }
}

pub(crate) fn weights<T: Real>(backend: &CpuBackend<T>, dims: &Dimensions) -> Weights<Vec<T>> {
    let stream = Stream::new(3, Purpose::Init);
    Weights::build(dims, |parts| {
        let (tensor, len) = (parts[0].tensor as u32 + 1, Part::total(parts));
        let norm = len == dims.hidden || len == dims.heads.head_dim;
        let scale = if norm { 0.2 } else { 0.25 };
        let shift = if norm { 1.0 } else { 0.0 };
        let values: Vec<T> = (0..len).map(|i| T::of(shift + scale * stream.normal(0, tensor, i as u32))).collect();
        backend.upload(&values)
    })
    .unwrap()
}

pub(crate) fn policy<T: Real>(backend: CpuBackend<T>, dims: Dimensions) -> TransformerPolicy<CpuBackend<T>> {
    let weights = weights(&backend, &dims);
    TransformerPolicy::new(backend, dims, weights, vec![0, 5, 9]).unwrap()
}

pub(crate) const PROMPTS: [&[u32]; 3] = [&[3, 7, 1, 5], &[2], &[9, 9, 4, 18, 11, 6]];
pub(crate) const COMPLETIONS: [&[u32]; 6] =
    [&[4, 8, 0], &[10], &[1, 2, 3, 4, 5, 6, 0], &[17, 0], &[], &[12, 13, 14, 15]];
pub(crate) const PROMPT_OF: [usize; 6] = [0, 1, 2, 0, 0, 2];
