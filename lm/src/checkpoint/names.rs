//! The names of tensors: normalisation of prefixes, and detection of tensors that do not belong to the model.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Architecture, ModelConfig};
use crate::error::{Error, Result};

/// The tensor that every model has, possibly under a name with another prefix.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Index of the shard that holds each tensor, and the tensor's name there.
pub(super) type Index = BTreeMap<String, (usize, String)>;

/// Gives the tensors of a base model, which was saved without its head, the names that they have in the whole
/// model.
///
/// # Errors
/// Returns [`Error::NoCheckpoint`] if a wrapper of the model put a prefix before the names.
pub(super) fn unify(index: Index, path: &Path) -> Result<Index> {
    if index.is_empty() || index.contains_key(EMBEDDING) {
        return Ok(index);
    }
    if index.contains_key(&EMBEDDING["model.".len()..]) {
        let parts = ["embed_tokens.", "layers.", "norm."];
        let whole = |name: String| {
            if parts.iter().any(|part| name.starts_with(part)) { format!("model.{name}") } else { name }
        };
        return Ok(index.into_iter().map(|(name, place)| (whole(name), place)).collect());
    }
    match index.keys().find_map(|name| name.strip_suffix(EMBEDDING)) {
        Some(prefix) => Err(Error::NoCheckpoint {
            path: path.to_owned(),
            message: format!(
                "the names of the tensors begin with `{prefix}`, which a wrapper of the model put there; save the model itself \
                 (torch.compile: `model._orig_mod`; PEFT: `merge_and_unload()`), or remove `{prefix}` from the names"
            ),
        }),
        None => Ok(index),
    }
}

/// Returns the tensors that no part of a language model reads, such as those of a value head.
///
/// # Errors
/// Returns [`Error::Tensor`] if a tensor would change the computation, but the configuration does not
/// ask for it.
pub(super) fn unused(index: &Index, config: &ModelConfig, path: &Path) -> Result<Vec<String>> {
    let known: Vec<String> = config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
    let harmless = |name: &str| name.ends_with("rotary_emb.inv_freq") || name == "lm_head.weight";
    let others: Vec<&String> = index.keys().filter(|name| !known.contains(name) && !harmless(name)).collect();
    let unwanted = |name: &&&String| name.starts_with("model.") || name.starts_with("lm_head.");
    let count = others.iter().filter(unwanted).count();
    match others.iter().find(unwanted) {
        Some(&name) => {
            let others = if count > 1 { format!("(and {} more) ", count - 1) } else { String::new() };
            let message = format!(
                "{others}would be ignored, because {}; the numbers would not be the model's: correct config.json, or \
                 delete the tensor",
                reason(name, config)
            );
            Err(Error::Tensor { path: path.to_owned(), name: name.clone(), message })
        }
        None => Ok(others.into_iter().cloned().collect()),
    }
}

/// Returns the reason why a tensor does not belong to the model that config.json describes.
fn reason(name: &str, config: &ModelConfig) -> String {
    let layer: Option<usize> =
        name.strip_prefix("model.layers.").and_then(|rest| rest.split('.').next()).and_then(|n| n.parse().ok());
    if layer.is_some_and(|layer| layer >= config.layers) {
        return format!("`num_hidden_layers` is {}", config.layers);
    }
    if name.contains("lora_") {
        return "it is a part of an adapter: merge the adapter first".into();
    }
    if name.ends_with("_proj.bias") && name.contains("self_attn") {
        return match config.architecture {
            Architecture::Qwen2 => "a `qwen2` has biases only on q, k and v".into(),
            _ => format!("`attention_bias` is {}", config.qkv_bias),
        };
    }
    if name.contains("q_norm") || name.contains("k_norm") {
        return "only `qwen3` normalises the heads of q and k".into();
    }
    if ["scale", "qweight", "qzeros", "absmax", "quant"].iter().any(|part| name.contains(part)) {
        return "it belongs to quantised weights: use the checkpoint that is not quantised".into();
    }
    "this family of models has no such part".into()
}
