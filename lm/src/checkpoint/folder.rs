//! Recognition of folders that are not checkpoints, with advice on how to obtain one.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::Error;

/// Returns an error that says why the model at `path` cannot be opened, or [`None`] if the system's own reason
/// is as good.
pub(super) fn refusal(path: &Path) -> Option<Error> {
    let message = explain(path)?;
    Some(Error::File { path: path.to_owned(), message })
}

fn explain(path: &Path) -> Option<String> {
    if !path.exists() {
        return Some(absent(path));
    }
    if path.is_file() {
        return Some("this is a file; name the folder that holds config.json and model.safetensors".into());
    }
    let names: Vec<String> =
        std::fs::read_dir(path).ok()?.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    let with = |suffixes: &[&str]| {
        let mut found: Vec<_> = names.iter().filter(|name| suffixes.iter().any(|s| name.ends_with(s))).collect();
        found.sort_unstable();
        found.first().map(|name| name.as_str())
    };
    let has = |name: &str| names.iter().any(|other| other == name);
    if has("adapter_config.json") {
        return Some(adapter(path));
    }
    if has("snapshots") {
        return Some(snapshots(path));
    }
    if !has("config.json") && (has("model.safetensors") || has("model.safetensors.index.json")) {
        return Some("there is no config.json next to the weights; copy it from the model's original folder".into());
    }
    if let Some(name) = with(&[".gguf"]) {
        return Some(format!(
            "{name} is GGUF, which cannot be read; load it with transformers' `from_pretrained(…, gguf_file=\"{name}\")` \
             and write it with `save_pretrained`, or fetch the original model"
        ));
    }
    if has("params.json") || with(&["consolidated.safetensors", "consolidated.00.pth"]).is_some() {
        return Some(
            "this is the layout of the model's authors (params.json, consolidated weights); fetch the Hugging Face one, \
             with config.json and model.safetensors"
                .into(),
        );
    }
    if let Some(name) = with(&[".bin", ".pt", ".pth", ".ckpt"]) {
        return Some(format!(
            "the weights are in {name}, which only PyTorch reads; write them as safetensors with transformers' \
             `AutoModelForCausalLM.from_pretrained(…).save_pretrained(…)`"
        ));
    }
    (!has("config.json"))
        .then(|| "there is no config.json; a model is a folder with config.json and model.safetensors".into())
}

/// Describes a path that does not exist, which may be the name of a model on the hub.
fn absent(path: &Path) -> String {
    let parts: Vec<_> = path.components().collect();
    if path.is_relative() && parts.len() == 2 && !path.starts_with(".") && !path.starts_with("..") {
        let id = path.display();
        return format!(
            "there is no such folder; if it is a name on the Hugging Face hub, fetch it first: \
             `hf download {id} --local-dir {id}`"
        );
    }
    "there is no such folder".into()
}

fn adapter(path: &Path) -> String {
    let text = std::fs::read_to_string(path.join("adapter_config.json")).unwrap_or_default();
    let config: Value = serde_json::from_str(&text).unwrap_or_default();
    let base = config["base_model_name_or_path"].as_str().unwrap_or("its base model");
    format!(
        "this is an adapter of {base}, not a model; merge it first: load both with PEFT, then `merge_and_unload()` and \
         `save_pretrained`"
    )
}

/// Describes the root folder of a model in the hub's cache.
fn snapshots(path: &Path) -> String {
    let entries = std::fs::read_dir(path.join("snapshots")).into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    folders.sort_unstable();
    match &folders[..] {
        [] => "this is a model's place in the hub's cache, but nothing was downloaded; fetch the model again".into(),
        [one] => format!("this is a model's place in the hub's cache; name the folder inside it: {}", one.display()),
        [one, ..] => {
            format!("this is a model's place in the hub's cache; name a folder inside it, such as {}", one.display())
        }
    }
}
