//! The tensors of a model, fused for fewer and larger products, and their names in a Hugging Face checkpoint.

use std::convert::Infallible;

use flowrl_core::backend::Backend;

use super::Dimensions;

/// The tensors of one layer. Queries, keys and values share one matrix, gate and up another.
#[derive(Debug)]
pub struct LayerWeights<T> {
    /// Weights (d) of the norm before the attention.
    pub attention_norm: T,
    /// Matrix (q + 2·kv, d) of queries, keys and values.
    pub qkv: T,
    /// Bias (q + 2·kv) of queries, keys and values.
    pub qkv_bias: Option<T>,
    /// Weights (head_dim) of the norm of query heads.
    pub q_norm: Option<T>,
    /// Weights (head_dim) of the norm of key heads.
    pub k_norm: Option<T>,
    /// Matrix (d, q) of the attention's output.
    pub o: T,
    /// Bias (d) of the attention's output.
    pub o_bias: Option<T>,
    /// Weights (d) of the norm before the feed-forward network.
    pub mlp_norm: T,
    /// Matrix (2·ff, d) of gate and up.
    pub gate_up: T,
    /// Matrix (d, ff) of the second feed-forward product.
    pub down: T,
}

/// All tensors of a model: its weights, or gradients and moments of the same shapes.
#[derive(Debug)]
pub struct Weights<T> {
    /// Embedding (vocab, d).
    pub embed: T,
    /// Layers, from the first to the last.
    pub layers: Vec<LayerWeights<T>>,
    /// Weights (d) of the last norm.
    pub norm: T,
    /// Output matrix (vocab, d); [`None`] if it is the embedding.
    pub head: Option<T>,
}

/// A tensor of a checkpoint as a slice of a fused one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Name of this part in a Hugging Face checkpoint.
    pub name: String,
    /// Shape in the checkpoint.
    pub shape: Vec<usize>,
    /// Index, in [`Weights::tensors`], of the tensor that holds this part.
    pub tensor: usize,
    /// First element within that tensor.
    pub offset: usize,
}

impl Part {
    /// Returns the number of elements of this part.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns the number of elements of all `parts`.
    pub fn total(parts: &[Self]) -> usize {
        parts.iter().map(Self::elements).sum()
    }
}

/// Iterates over the tensors of a layer in the order of [`Weights::build`], borrowed as `$layer` is.
macro_rules! tensors_of {
    ($layer:expr) => {{
        let LayerWeights { attention_norm, qkv, qkv_bias, q_norm, k_norm, o, o_bias, mlp_norm, gate_up, down } = $layer;
        let attention = [attention_norm, qkv].into_iter().chain(qkv_bias).chain(q_norm).chain(k_norm);
        attention.chain([o]).chain(o_bias).chain([mlp_norm, gate_up, down])
    }};
}

impl<T> Weights<T> {
    /// Returns the matrix of the output layer, which may be the embedding.
    pub fn head(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Returns every tensor, in the order of [`Weights::build`].
    pub fn tensors(&self) -> impl Iterator<Item = &T> {
        let layers = self.layers.iter().flat_map(|layer| tensors_of!(layer));
        [&self.embed].into_iter().chain(layers).chain([&self.norm]).chain(&self.head)
    }

    /// Returns mutable access to the tensors of [`Weights::tensors`].
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let layers = self.layers.iter_mut().flat_map(|layer| tensors_of!(layer));
        [&mut self.embed].into_iter().chain(layers).chain([&mut self.norm]).chain(&mut self.head)
    }

    /// Builds a model from its tensors, which `next` returns in order, given the parts of each. This is the only
    /// description of the tensors of a model.
    pub fn build<E>(dims: &Dimensions, mut next: impl FnMut(&[Part]) -> Result<T, E>) -> Result<Self, E> {
        let (d, ff, heads) = (dims.hidden, dims.intermediate, dims.heads);
        let (q, kv) = (heads.q_width(), heads.kv_width());
        let mut tensor = 0;
        let mut fused = |members: &[(&str, &[usize])], prefix: &str| {
            let mut parts: Vec<Part> = Vec::with_capacity(members.len());
            for (name, shape) in members {
                let offset = parts.last().map_or(0, |part| part.offset + part.elements());
                parts.push(Part { name: format!("{prefix}{name}"), shape: shape.to_vec(), tensor, offset });
            }
            tensor += 1;
            next(&parts)
        };
        let embed = fused(&[("model.embed_tokens.weight", &[dims.vocab, d])], "")?;
        let mut layers = Vec::with_capacity(dims.layers);
        for i in 0..dims.layers {
            let prefix = &*format!("model.layers.{i}.");
            let mut fused = |members: &[(&str, &[usize])]| fused(members, prefix);
            layers.push(LayerWeights {
                attention_norm: fused(&[("input_layernorm.weight", &[d])])?,
                qkv: fused(&[
                    ("self_attn.q_proj.weight", &[q, d]),
                    ("self_attn.k_proj.weight", &[kv, d]),
                    ("self_attn.v_proj.weight", &[kv, d]),
                ])?,
                qkv_bias: dims
                    .qkv_bias
                    .then(|| {
                        fused(&[
                            ("self_attn.q_proj.bias", &[q]),
                            ("self_attn.k_proj.bias", &[kv]),
                            ("self_attn.v_proj.bias", &[kv]),
                        ])
                    })
                    .transpose()?,
                q_norm: dims.qk_norm.then(|| fused(&[("self_attn.q_norm.weight", &[heads.head_dim])])).transpose()?,
                k_norm: dims.qk_norm.then(|| fused(&[("self_attn.k_norm.weight", &[heads.head_dim])])).transpose()?,
                o: fused(&[("self_attn.o_proj.weight", &[d, q])])?,
                o_bias: dims.o_bias.then(|| fused(&[("self_attn.o_proj.bias", &[d])])).transpose()?,
                mlp_norm: fused(&[("post_attention_layernorm.weight", &[d])])?,
                gate_up: fused(&[("mlp.gate_proj.weight", &[ff, d]), ("mlp.up_proj.weight", &[ff, d])])?,
                down: fused(&[("mlp.down_proj.weight", &[d, ff])])?,
            });
        }
        let norm = fused(&[("model.norm.weight", &[d])], "")?;
        let head = (!dims.tied).then(|| fused(&[("lm_head.weight", &[dims.vocab, d])], "")).transpose()?;
        Ok(Self { embed, layers, norm, head })
    }

    /// Allocates tensors of zeros on a device.
    pub fn zeros<B: Backend<Buffer = T>>(backend: &B, dims: &Dimensions) -> Result<Self, B::Error> {
        Self::build(dims, |parts| backend.zeros(Part::total(parts)))
    }
}

impl Weights<()> {
    /// Returns the parts of all tensors under the names of a checkpoint, in the order of [`Weights::build`].
    pub fn parts(dims: &Dimensions) -> Vec<Part> {
        let mut all = Vec::new();
        let Ok(_) = Self::build::<Infallible>(dims, |parts| {
            all.extend_from_slice(parts);
            Ok(())
        });
        all
    }

    /// Returns the number of elements of all tensors together.
    pub fn elements(dims: &Dimensions) -> usize {
        Part::total(&Self::parts(dims))
    }
}
