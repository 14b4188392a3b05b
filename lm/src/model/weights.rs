//! The tensors of a model, fused for fewer and larger products, and their names in a Hugging Face checkpoint.

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
    /// Weights (head_dim) of the norms of query and key heads.
    pub qk_norm: Option<(T, T)>,
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
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Returns whether this part has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> LayerWeights<T> {
    fn tensors(&self) -> impl Iterator<Item = &T> {
        let norms = self.qk_norm.iter().flat_map(|(q, k)| [q, k]);
        [&self.attention_norm, &self.qkv]
            .into_iter()
            .chain(&self.qkv_bias)
            .chain(norms)
            .chain([&self.o])
            .chain(&self.o_bias)
            .chain([&self.mlp_norm, &self.gate_up, &self.down])
    }

    fn tensors_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let norms = self.qk_norm.iter_mut().flat_map(|(q, k)| [q, k]);
        [&mut self.attention_norm, &mut self.qkv]
            .into_iter()
            .chain(&mut self.qkv_bias)
            .chain(norms)
            .chain([&mut self.o])
            .chain(&mut self.o_bias)
            .chain([&mut self.mlp_norm, &mut self.gate_up, &mut self.down])
    }
}

impl<T> Weights<T> {
    /// Returns the matrix of the output layer, which may be the embedding.
    pub fn head(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Returns every tensor, in the order of [`Weights::sizes`].
    pub fn tensors(&self) -> impl Iterator<Item = &T> {
        let layers = self.layers.iter().flat_map(LayerWeights::tensors);
        [&self.embed].into_iter().chain(layers).chain([&self.norm]).chain(&self.head)
    }

    /// Returns mutable access to the tensors of [`Weights::tensors`].
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let layers = self.layers.iter_mut().flat_map(LayerWeights::tensors_mut);
        [&mut self.embed].into_iter().chain(layers).chain([&mut self.norm]).chain(&mut self.head)
    }
}

impl Weights<()> {
    /// Returns the parts of all tensors under the names of a checkpoint, tensors in the order of
    /// [`Weights::tensors`].
    pub fn parts(dims: &Dimensions) -> Vec<Part> {
        let (d, ff, heads) = (dims.hidden, dims.intermediate, dims.heads);
        let (q, kv) = (heads.q_width(), heads.kv_width());
        let mut parts = Vec::new();
        let mut tensor = 0;
        let mut fused = |members: &[(String, Vec<usize>)]| {
            let mut offset = 0;
            for (name, shape) in members {
                let part = Part { name: name.clone(), shape: shape.clone(), tensor, offset };
                offset += part.len();
                parts.push(part);
            }
            tensor += 1;
        };
        fused(&[("model.embed_tokens.weight".into(), vec![dims.vocab, d])]);
        for i in 0..dims.layers {
            let name = |tail: &str| format!("model.layers.{i}.{tail}");
            let one = |tail: &str, shape: Vec<usize>| [(name(tail), shape)];
            fused(&one("input_layernorm.weight", vec![d]));
            let qkv = [("q", q), ("k", kv), ("v", kv)];
            fused(&qkv.map(|(x, n)| (name(&format!("self_attn.{x}_proj.weight")), vec![n, d])));
            if dims.qkv_bias {
                fused(&qkv.map(|(x, n)| (name(&format!("self_attn.{x}_proj.bias")), vec![n])));
            }
            if dims.qk_norm {
                fused(&one("self_attn.q_norm.weight", vec![heads.head_dim]));
                fused(&one("self_attn.k_norm.weight", vec![heads.head_dim]));
            }
            fused(&one("self_attn.o_proj.weight", vec![d, q]));
            if dims.o_bias {
                fused(&one("self_attn.o_proj.bias", vec![d]));
            }
            fused(&one("post_attention_layernorm.weight", vec![d]));
            fused(&["gate", "up"].map(|x| (name(&format!("mlp.{x}_proj.weight")), vec![ff, d])));
            fused(&one("mlp.down_proj.weight", vec![d, ff]));
        }
        fused(&[("model.norm.weight".into(), vec![d])]);
        if !dims.tied {
            fused(&[("lm_head.weight".into(), vec![dims.vocab, d])]);
        }
        parts
    }

    /// Returns the number of elements of each fused tensor.
    pub fn sizes(dims: &Dimensions) -> Vec<usize> {
        let mut sizes = Vec::new();
        for part in Self::parts(dims) {
            if part.tensor == sizes.len() {
                sizes.push(0);
            }
            sizes[part.tensor] += part.len();
        }
        sizes
    }
}

impl<T> Weights<T> {
    /// Builds the structure of a model from its fused tensors, which `next` returns in order, given their
    /// numbers of elements.
    pub fn build<E>(dims: &Dimensions, mut next: impl FnMut(usize) -> Result<T, E>) -> Result<Self, E> {
        let sizes = Weights::sizes(dims);
        let mut sizes = sizes.into_iter();
        let mut tensor = || next(sizes.next().unwrap_or(0));
        let embed = tensor()?;
        let mut layers = Vec::with_capacity(dims.layers);
        for _ in 0..dims.layers {
            layers.push(LayerWeights {
                attention_norm: tensor()?,
                qkv: tensor()?,
                qkv_bias: dims.qkv_bias.then(&mut tensor).transpose()?,
                qk_norm: if dims.qk_norm { Some((tensor()?, tensor()?)) } else { None },
                o: tensor()?,
                o_bias: dims.o_bias.then(&mut tensor).transpose()?,
                mlp_norm: tensor()?,
                gate_up: tensor()?,
                down: tensor()?,
            });
        }
        let norm = tensor()?;
        let head = (!dims.tied).then(&mut tensor).transpose()?;
        Ok(Self { embed, layers, norm, head })
    }

    /// Allocates tensors of zeros on a device.
    pub fn zeros<B: Backend<Buffer = T>>(backend: &B, dims: &Dimensions) -> Result<Self, B::Error> {
        Self::build(dims, |len| backend.zeros(len))
    }
}
