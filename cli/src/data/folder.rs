//! Folders that `datasets` has saved.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Returns the Arrow files of a folder that `Dataset.save_to_disk` has written, in order.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let name = folder.display();
    let read = |file: &str| -> Result<Option<Value>> {
        let path = folder.join(file);
        if !path.is_file() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).map(Some).with_context(|| format!("{} is not valid JSON", path.display()))
    };
    if let Some(splits) = read("dataset_dict.json")? {
        let splits: Vec<_> = splits["splits"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        bail!(
            "{name} holds several datasets, {}: name one of them, {name}/{}",
            splits.join(" and "),
            splits.first().unwrap_or(&"train")
        );
    }
    let Some(state) = read("state.json")? else {
        bail!(
            "{name} is a folder, but not one of a saved dataset (state.json is missing): name its data files one by one"
        );
    };
    let entries = state["_data_files"].as_array().into_iter().flatten();
    let files: Vec<_> = entries.filter_map(|entry| entry["filename"].as_str()).map(|file| folder.join(file)).collect();
    if files.is_empty() {
        bail!("{name}/state.json names no data files");
    }
    Ok(files)
}
