//! Rows of data files in the formats that people have: JSON lines, JSON, CSV, Parquet, Arrow, and folders of `datasets`.
//!
//! The first bytes of a file tell its format, never its name.

mod csv;
mod folder;
mod format;
mod json;
mod prompts;
mod shape;
mod source;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use flowrl_lm::prompts::Origin;
use serde_json::{Map, Value};

use crate::input;
use format::Format;
pub use prompts::{Keys, add_system, long_prompts, read_prompts};
pub use source::Source;
pub(crate) use source::{deserialize, serialize};

/// An object of a file, with its place for messages.
#[derive(Debug)]
pub struct Row {
    /// File and line.
    pub origin: Origin,
    /// The row itself.
    pub fields: Map<String, Value>,
}

/// Returns the files of a path: the path itself, or the data files of a folder that `datasets` has saved.
pub fn files(path: &Path) -> Result<Vec<PathBuf>> {
    if path.is_dir() { folder::files(path) } else { Ok(vec![path.to_owned()]) }
}

/// Reads the rows of a file, of standard input (`-`), or of a folder that `datasets` has saved.
pub fn rows(path: &Path) -> Result<Vec<Row>> {
    let mut all = Vec::new();
    for file in files(path)? {
        all.extend(parse(input::bytes(&file)?, &input::name(&file))?);
    }
    Ok(all)
}

/// Parses the rows of a file; `name` is for messages.
fn parse(mut bytes: Vec<u8>, name: &str) -> Result<Vec<Row>> {
    let place = || name.to_owned();
    // A compressed file in a compressed file is unpacked too, but not more of them.
    for _ in 0..2 {
        match format::of(&bytes).map_err(|why| anyhow!("{name}: {why}"))? {
            Format::Gzip => bytes = unpack::gzip(&bytes).with_context(place)?,
            Format::Zstd => bytes = unpack::zstd(&bytes).with_context(place)?,
            _ => break,
        }
    }
    let file: Arc<str> = name.into();
    let table = |rows: Vec<Map<String, Value>>| {
        let row = |(i, fields)| Row {
            origin: Origin { file: Arc::clone(&file), line: i + 1, counts_rows: true, ..Origin::default() },
            fields,
        };
        rows.into_iter().enumerate().map(row).collect()
    };
    let lines = |rows: Vec<(usize, Map<String, Value>)>| {
        let row =
            |(line, fields)| Row { origin: Origin { file: Arc::clone(&file), line, ..Origin::default() }, fields };
        rows.into_iter().map(row).collect()
    };
    match format::of(&bytes).map_err(|why| anyhow!("{name}: {why}"))? {
        Format::Empty => Ok(Vec::new()),
        Format::JsonLines => json::lines(&bytes, Path::new(name)).map(lines),
        Format::Json => json::document(&bytes, name).map(table),
        Format::Separated(separator) => csv::rows(&bytes, name, separator).map(lines),
        Format::Parquet => parquet(&bytes).map(table).map_err(|why| anyhow!("{name}: {why}")),
        Format::Arrow => arrow(&bytes).map(table).map_err(|why| anyhow!("{name}: {why}")),
        Format::Gzip | Format::Zstd => Err(anyhow!("{name}: compressed more than twice; unpack it first")),
    }
}

#[cfg(feature = "tables")]
use flowrl_tables::{read_arrow as arrow, read_parquet as parquet};

#[cfg(not(feature = "tables"))]
fn parquet(_: &[u8]) -> Result<Vec<Map<String, Value>>, String> {
    let convert = "pandas.read_parquet(FILE).to_json(\"rows.jsonl\", orient=\"records\", lines=True)";
    Err(format!("this is a Parquet file, which {}, or convert it: {convert}", NO_TABLES))
}

#[cfg(not(feature = "tables"))]
fn arrow(_: &[u8]) -> Result<Vec<Map<String, Value>>, String> {
    let convert = "datasets.load_from_disk(FOLDER).to_json(\"rows.jsonl\")";
    Err(format!("this is Arrow data, which {}, or convert it: {convert}", NO_TABLES))
}

#[cfg(not(feature = "tables"))]
const NO_TABLES: &str = "this build does not read: build with `--features tables`, use a program from the archives";

#[cfg(test)]
mod tests;
