//! The architecture of a checkpoint, from its Hugging Face `config.json`.

mod keys;
mod rope;

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::backend::Heads;
use crate::error::{Error, Result};
use crate::model::{Dimensions, Weights};
use keys::Keys;
pub(crate) use keys::add_new;
pub use rope::RopeScaling;

/// The supported families of decoders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// Qwen2 and Qwen2.5, with biases on q, k and v.
    Qwen2,
    /// Qwen3, with an RMS norm on every head of q and k.
    Qwen3,
    /// Llama 2 and 3.
    Llama,
}

/// The type of the numbers in a checkpoint on disk. Computation is in f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// IEEE single precision.
    #[default]
    F32,
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an f32.
    Bf16,
}

impl Dtype {
    /// Returns the name of this type in `config.json`: `float32`, `float16` or `bfloat16`.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "float32",
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
        }
    }
}

/// The parsed and checked configuration of a model.
///
/// ```
/// use flowrl_lm::config::ModelConfig;
/// let config = ModelConfig::qwen2(100, 64, 128, 2, 4, 2, 256, 0)?;
/// assert_eq!(config.dims.heads.head_dim, 16);
/// assert_eq!(config.tensor_shapes().len(), 2 + 12 * 2);
/// # Ok::<(), flowrl_lm::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// Family of the model.
    pub architecture: Architecture,
    /// Dimensions and flags of the model.
    pub dims: Dimensions,
    /// The base θ of the rotary embedding.
    pub rope_theta: f64,
    /// How the rotary embedding is stretched to longer contexts.
    pub rope_scaling: RopeScaling,
    /// Longest sequence the model was trained for.
    pub max_position_embeddings: usize,
    /// Tokens that end a completion, in the order of the files: those of `config.json`, then any others of
    /// `generation_config.json`.
    pub eos_token_ids: Vec<u32>,
    /// Token that begins a text, if the model has one.
    pub bos_token_id: Option<u32>,
    /// The whole `config.json`, kept so that saving writes it back.
    raw: Map<String, Value>,
}

impl ModelConfig {
    /// Parses the text of a `config.json`; `path` is for error messages.
    ///
    /// Reads both spellings in use: `rope_parameters`, or `rope_theta` with `rope_scaling`. If a file has both,
    /// `rope_scaling` wins, as in `transformers`.
    ///
    /// # Errors
    /// Returns [`Error::File`] for bad JSON, and [`Error::Config`] if a key is missing, a value is out of
    /// range, or the file asks for a computation that is not supported (other model types, activations or rope
    /// scalings, biases in the MLP, sliding windows, quantised weights).
    pub fn from_json(json: &str, path: &Path) -> Result<Self> {
        let raw: Map<String, Value> = serde_json::from_str(json).map_err(Error::json(path))?;
        let keys = Keys::new(&raw, path);
        let architecture = match keys.text("model_type")? {
            Some("qwen2") => Architecture::Qwen2,
            Some("qwen3") => Architecture::Qwen3,
            Some("llama") => Architecture::Llama,
            _ => return Err(keys.error("model_type", "\"qwen2\" (also Qwen2.5), \"qwen3\" or \"llama\"")),
        };
        refuse_unsupported(&keys)?;

        let heads = keys.size("num_attention_heads", None)?;
        let hidden = keys.size("hidden_size", None)?;
        let default_head_dim = match architecture {
            Architecture::Qwen3 => Some(128),
            _ => hidden.is_multiple_of(heads).then_some(hidden / heads),
        };
        let kv_heads = keys.size("num_key_value_heads", Some(heads))?;
        let head_dim = keys.size("head_dim", default_head_dim)?;
        // The defaults of transformers.
        let default_context = if architecture == Architecture::Llama { 2048 } else { 32_768 };
        let bias = keys.flag("attention_bias")?;
        let (rope_theta, rope_scaling) = rope::parse(&keys)?;
        let frequency = |i| rope_scaling.apply(rope_theta.powf(-2.0 * i as f64 / head_dim as f64));
        let dims = Dimensions {
            vocab: keys.size("vocab_size", None)?,
            hidden,
            layers: keys.size("num_hidden_layers", None)?,
            heads: Heads { heads, kv_heads, head_dim },
            intermediate: keys.size("intermediate_size", None)?,
            rms_eps: keys.positive("rms_norm_eps", Some(1e-6))?,
            qkv_bias: bias || architecture == Architecture::Qwen2,
            o_bias: bias && architecture != Architecture::Qwen2,
            qk_norm: architecture == Architecture::Qwen3,
            tied: keys.flag("tie_word_embeddings")?,
            frequencies: (0..head_dim / 2).map(frequency).collect(),
        };
        let max_position_embeddings = keys.size("max_position_embeddings", Some(default_context))?;
        let eos_token_ids = keys.token_ids("eos_token_id")?;
        let bos_token_id = keys.token_ids("bos_token_id")?.first().copied();
        if !heads.is_multiple_of(kv_heads) {
            return Err(keys.error("num_key_value_heads", &format!("a divisor of num_attention_heads ({heads})")));
        }
        if !head_dim.is_multiple_of(2) {
            let wanted = format!("an even number (rotary embedding turns pairs), not {head_dim}");
            return Err(keys.error("head_dim", &wanted));
        }
        Ok(Self {
            architecture,
            dims,
            rope_theta,
            rope_scaling,
            max_position_embeddings,
            eos_token_ids,
            bos_token_id,
            raw,
        })
    }

    /// Adds the end tokens of a `generation_config.json` to the known ones.
    ///
    /// # Errors
    /// Returns [`Error::File`] for bad JSON, and [`Error::Config`] if `eos_token_id` is neither a token id nor
    /// a list of them.
    pub(crate) fn add_generation_config(&mut self, json: &str, path: &Path) -> Result<()> {
        let map: Map<String, Value> = serde_json::from_str(json).map_err(Error::json(path))?;
        let keys = Keys::new(&map, path);
        add_new(&mut self.eos_token_ids, keys.token_ids("eos_token_id")?);
        Ok(())
    }

    /// Gives this model its own output matrix, here and in the text that [`Self::to_json`] returns.
    pub(crate) fn untie(&mut self) {
        self.dims.tied = false;
        self.raw.insert("tie_word_embeddings".to_owned(), false.into());
    }

    /// Returns the configuration of a new Qwen2 with tied embeddings, rope base 10⁴ and ε = 10⁻⁶.
    ///
    /// # Errors
    /// Returns [`Error::Config`] if a size is 0 or above 2²⁴, `kv_heads` does not divide `heads`, or
    /// `hidden_size / heads` is not an even whole number.
    pub fn qwen2(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        layers: usize,
        heads: usize,
        kv_heads: usize,
        max_position_embeddings: usize,
        eos_token_id: u32,
    ) -> Result<Self> {
        let raw = json!({
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "intermediate_size": intermediate_size,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "hidden_act": "silu",
            "max_position_embeddings": max_position_embeddings,
            "rms_norm_eps": 1e-6,
            "rope_theta": 10000.0,
            "tie_word_embeddings": true,
            "use_sliding_window": false,
            "attention_dropout": 0.0,
            "initializer_range": 0.02,
            "eos_token_id": eos_token_id,
            "use_cache": true,
            "torch_dtype": "float32",
        });
        Self::from_json(&raw.to_string(), Path::new("(new model)"))
    }

    /// Returns the `config.json` that was read, with the type of the weights changed to `dtype`.
    pub fn to_json(&self, dtype: Dtype) -> String {
        let mut raw = self.raw.clone();
        let key = if raw.contains_key("torch_dtype") { "torch_dtype" } else { "dtype" };
        raw.insert(key.to_owned(), dtype.name().into());
        format!("{:#}\n", Value::Object(raw))
    }

    /// Returns the name and shape of every tensor of this model, in the order of the computation.
    ///
    /// Matrices are (rows out, columns in). If embeddings are tied, there is no `lm_head.weight`.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<usize>)> {
        Weights::parts(&self.dims).into_iter().map(|part| (part.name, part.shape)).collect()
    }

    /// Returns the number of weights of this model; a tied embedding counts once.
    pub fn parameter_count(&self) -> u64 {
        Weights::elements(&self.dims) as u64
    }
}

/// Returns an error if the file asks for something that changes the computation and is not implemented.
fn refuse_unsupported(keys: &Keys<'_>) -> Result<()> {
    type Rule = (&'static str, &'static str, fn(&Value) -> bool);
    let supported: [Rule; 5] = [
        ("hidden_act", "\"silu\"", |v| v == "silu"),
        ("mlp_bias", "false: biases in the MLP are not supported", |v| v == false),
        ("layer_types", "\"full_attention\" throughout", |v| {
            v.as_array().is_some_and(|types| types.iter().all(|t| t == "full_attention"))
        }),
        ("partial_rotary_factor", "1: the rotary embedding covers the whole head", |v| v.as_f64() == Some(1.0)),
        ("quantization_config", "absent: use the checkpoint that is not quantised", |_| false),
    ];
    // The sliding window starts at this layer: if the model has no such layer, attention is full throughout.
    let windowless =
        keys.get("max_window_layers").and_then(Value::as_u64) >= keys.get("num_hidden_layers").and_then(Value::as_u64);
    if keys.flag("use_sliding_window")? && !(windowless && keys.get("max_window_layers").is_some()) {
        return Err(keys.error("use_sliding_window", "false: only full attention is supported"));
    }
    for (key, wanted, holds) in supported {
        if keys.get(key).is_some_and(|value| !holds(value)) {
            return Err(keys.error(key, wanted));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
