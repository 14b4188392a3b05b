//! Rows of Parquet files and Arrow streams as JSON objects.
//!
//! Lists become arrays, and structs and maps objects. Dates, times, timestamps and decimals become texts, because JSON
//! has no such types and a float would lose digits. NaN becomes null, as pandas writes missing numbers. A column whose
//! type has no meaning in JSON is refused by name.
//!
//! Damaged files are errors: what a decoder does not check itself is caught, and no size in a file is trusted.
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
