//! The names of tensors: normalisation of prefixes, detection of tensors that do not belong to the model, and
//! suggestions for a name that is missing.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{Architecture, ModelConfig};
use crate::error::{Error, Result};

/// The tensor that every model has, possibly under a name with another prefix.
const EMBEDDING: &str = "model.embed_tokens.weight";

/// Index of the shard that holds each tensor, and the tensor's name there.
pub(super) type Index = BTreeMap<String, (usize, String)>;

/// Gives the tensors of a base model, which was saved without its head, the names that they have in the whole model.
///
/// # Errors
/// Returns [`Error::File`] if a wrapper of the model put a prefix before the names.
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
        Some(prefix) => Err(Error::File {
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
/// Returns [`Error::Tensor`] if a tensor would change the computation, but the configuration does not ask for it.
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
    if layer.is_some_and(|layer| layer >= config.dims.layers) {
        return format!("`num_hidden_layers` is {}", config.dims.layers);
    }
    if name.contains("lora_") {
        return "it is a part of an adapter: merge the adapter first".into();
    }
    if name.ends_with("_proj.bias") && name.contains("self_attn") {
        return match config.architecture {
            Architecture::Qwen2 => "a `qwen2` has biases only on q, k and v".into(),
            _ => format!("`attention_bias` is {}", config.dims.qkv_bias),
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

/// Returns a clause for an error message with the names most similar to `wanted` or, if none is, the first ones.
pub(super) fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone) -> String {
    let quoted = |names: &[String]| format!("`{}`", names.join("`, `"));
    match nearest(wanted, names.clone()) {
        near if !near.is_empty() => format!("; similar names are {}", quoted(&near)),
        _ => match names.take(3).map(str::to_owned).collect::<Vec<_>>() {
            first if !first.is_empty() => format!("; the first names it has are {}", quoted(&first)),
            _ => String::new(),
        },
    }
}

/// Returns up to three of `names` that are most similar to `wanted`, nearest first.
fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = wanted.len() / 3;
    let mut near: Vec<_> = names.map(|name| (distance(wanted, name), name)).filter(|(d, _)| *d <= limit).collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, name)| name.to_owned()).collect()
}

/// Computes the Levenshtein distance: the fewest bytes to insert, delete or replace.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_known() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn the_nearest_come_first() {
        let names = ["layers.0.q_proj.weight", "layers.0.k_proj.weight", "layers.1.q_proj.weight", "norm"];
        assert_eq!(nearest("layers.0.q_proj.weights", names.into_iter())[0], "layers.0.q_proj.weight");
        assert!(nearest("embedding.table", names.into_iter()).is_empty());
    }
}
