//! The tensors of a model, fused for fewer and larger products, and their names in a Hugging Face checkpoint.

use flowrl_core::backend::Backend;

use super::Dimensions;

/// The tensors of one layer: queries, keys and values are one matrix, gate and up another.
#[derive(Debug)]
pub struct LayerWeights<T> {
    /// (d) norm before the attention.
    pub attention_norm: T,
    /// (q + 2·kv, d).
    pub qkv: T,
    /// (q + 2·kv).
    pub qkv_bias: Option<T>,
    /// (head_dim) twice: norms of query and key heads.
    pub qk_norm: Option<(T, T)>,
    /// (d, q).
    pub o: T,
    /// (d).
    pub o_bias: Option<T>,
    /// (d) norm before the feed-forward part.
    pub mlp_norm: T,
    /// (2·ff, d).
    pub gate_up: T,
    /// (d, ff).
    pub down: T,
}

/// All tensors of a model: its weights, or gradients and moments of the same shapes.
#[derive(Debug)]
pub struct Weights<T> {
    /// (vocab, d).
    pub embed: T,
    /// In order.
    pub layers: Vec<LayerWeights<T>>,
    /// (d) the last norm.
    pub norm: T,
    /// (vocab, d), where it is not the embedding.
    pub head: Option<T>,
}

/// A tensor of a checkpoint as a slice of a fused one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name in a Hugging Face checkpoint.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Which tensor of [`Weights::tensors`] holds it.
    pub tensor: usize,
    /// From which element on.
    pub offset: usize,
}

impl Part {
    /// Elements.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no elements.
    #[must_use]
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
    /// The output layer.
    pub fn head(&self) -> &T {
        self.head.as_ref().unwrap_or(&self.embed)
    }

    /// Every tensor, in the order of [`Weights::sizes`].
    pub fn tensors(&self) -> impl Iterator<Item = &T> {
        let layers = self.layers.iter().flat_map(LayerWeights::tensors);
        [&self.embed].into_iter().chain(layers).chain([&self.norm]).chain(&self.head)
    }

    /// The same, mutable.
    pub fn tensors_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let layers = self.layers.iter_mut().flat_map(LayerWeights::tensors_mut);
        [&mut self.embed].into_iter().chain(layers).chain([&mut self.norm]).chain(&mut self.head)
    }
}

impl Weights<()> {
    /// The parts of each tensor as a checkpoint names them, tensors in the order of [`Weights::tensors`].
    #[must_use]
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

    /// Elements of each fused tensor.
    #[must_use]
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
    /// Builds the structure of a model from its fused tensors in order.
    ///
    /// # Errors
    /// The first error of `next`.
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

    /// Tensors of zeros on a device.
    ///
    /// # Errors
    /// Where the device has no memory left.
    pub fn zeros<B: Backend<Buffer = T>>(backend: &B, dims: &Dimensions) -> Result<Self, B::Error> {
        Self::build(dims, |len| backend.zeros(len))
    }
}
