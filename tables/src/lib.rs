#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod arrow;
mod codec;
mod guard;
mod parquet;
mod value;

pub use arrow::read_arrow;
pub use parquet::read_parquet;

/// The rows of a table, or the reason why it cannot be read, with the remedy.
pub type Rows = Result<Vec<serde_json::Map<String, serde_json::Value>>, String>;
