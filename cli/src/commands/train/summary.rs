//! What a run prints at its end.

use anyhow::Result;

use crate::metrics::{self, before_and_after};
use crate::run_dir::RunDir;

/// The first and the last evaluation next to each other, and how far sampling and training disagreed.
pub(super) fn lines(directory: &RunDir) -> Result<Vec<String>> {
    let records = metrics::read(&directory.metrics())?;
    let mut lines = before_and_after("on held-out prompts", &records);
    if !lines.is_empty() {
        lines.push(String::new());
    }
    if let Some(deviation) = records.iter().filter_map(|r| r.number("first_ratio_deviation")).reduce(f64::max) {
        lines.push(format!("largest |log π − log π_old| in a first update: {deviation:e}"));
    }
    Ok(lines)
}
