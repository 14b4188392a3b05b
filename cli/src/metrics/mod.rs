//! Metrics of a run: one flat JSON object per step, one object per line (JSONL).
//!
//! A line is written and flushed whole, so a killed run loses at most the line it was writing; [`read`] drops that torn
//! line and refuses anything else that it cannot read. JSON has no NaN and no infinity: a value that is not finite is
//! written as `null` and read back as NaN. [`flowrl_core::metrics`] describes each number.

mod results;
pub(crate) mod sets;

pub use results::markdown_tables;
pub(crate) use results::{
    before_and_after, error_name, headlines, of_error, of_its_set, quantity_with_error, results, target, with_error,
};
pub use sets::get;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value as Json};

/// An ordered flat map from names to numbers or text.
///
/// ```
/// use flowrl_cli::metrics::Record;
///
/// let mut record = Record::new(3);
/// record.set("loss", 196.875).set("phase", "warm-up").set("log_z_error", f64::NAN);
/// assert_eq!(record.to_line(), r#"{"step":3,"loss":196.875,"phase":"warm-up","log_z_error":null}"#);
/// assert_eq!(record.number("loss"), Some(196.875));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    fields: Map<String, Json>,
}

impl Record {
    /// Creates a record with `step` as its first field.
    pub fn new(step: u64) -> Self {
        Self { fields: Map::from_iter([("step".to_owned(), step.into())]) }
    }

    /// Sets the value of `name`, a number or text, in place if the record has this name, else at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) -> &mut Self {
        self.fields.insert(name.to_owned(), whole(value.into()));
        self
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&Json> {
        self.fields.get(name)
    }

    /// Returns the number of `name`: NaN if it was not finite, `None` if it is absent or text.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Json::Null => Some(f64::NAN),
            value => value.as_f64(),
        }
    }

    /// Returns the field `step`, if it is a whole number.
    pub fn step(&self) -> Option<u64> {
        self.number("step").filter(|step| *step >= 0.0 && step.fract() == 0.0).map(|step| step as u64)
    }

    /// Returns the names of all numbers with their values, in order.
    pub fn numbers(&self) -> impl Iterator<Item = (&str, f64)> {
        self.fields.keys().filter_map(|name| Some((name.as_str(), self.number(name)?)))
    }

    /// Formats the record as one line of JSON, without the newline.
    pub fn to_line(&self) -> String {
        serde_json::to_string(&self.fields).expect("every value has a form in JSON")
    }

    /// Reads one line of JSON.
    ///
    /// # Errors
    /// Returns an error for anything but one flat object of numbers, text, booleans (read as 0 and 1) and `null` (read
    /// as NaN).
    pub fn parse(line: &[u8]) -> Result<Self> {
        let mut fields: Map<String, Json> =
            serde_json::from_slice(line).context("expected one JSON object per line")?;
        for (name, value) in &mut fields {
            *value = match value.take() {
                Json::Bool(flag) => u8::from(flag).into(),
                value @ (Json::Array(_) | Json::Object(_)) => {
                    bail!("field `{name}`: expected a number or text, got {value}")
                }
                value => whole(value),
            };
        }
        Ok(Self { fields })
    }
}

/// Returns a number without a fraction as an integer.
fn whole(value: Json) -> Json {
    match value.as_f64() {
        Some(x) if x.fract() == 0.0 && x.abs() < 9e15 => Json::from(x as i64),
        _ => value,
    }
}

/// A writer that appends records to a metrics file, each flushed as a whole line.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
}

impl Writer {
    /// Opens `path` for appending, and creates it if necessary.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = || format!("cannot open the metrics file {}", path.display());
        let file = OpenOptions::new().create(true).append(true).open(path).with_context(failed)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Syncs all lines to the disk and returns the size of the file in bytes.
    pub fn sync(&self) -> Result<u64> {
        let len = self.file.sync_data().and_then(|()| self.file.metadata()).map(|file| file.len());
        len.with_context(|| format!("cannot write to {}", self.path.display()))
    }

    /// Writes a record as one line.
    pub fn append(&mut self, record: &Record) -> Result<()> {
        let line = record.to_line() + "\n";
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.flush());
        written.with_context(|| format!("cannot write to {}", self.path.display()))
    }
}

/// Reads every record of a metrics file, or none if there is no such file.
pub fn read_if_there(path: &Path) -> Result<Vec<Record>> {
    if path.exists() { read(path) } else { Ok(Vec::new()) }
}

/// Reads every record of a metrics file and skips blank lines.
///
/// If the last line has no newline and does not parse, a killed run tore it, and this function drops it.
///
/// # Errors
/// Returns an error if the file cannot be read, or, as `FILE:LINE: …`, if a line is not a flat JSON object.
pub fn read(path: &Path) -> Result<Vec<Record>> {
    let bytes = fs::read(path).with_context(|| format!("cannot read the metrics file {}", path.display()))?;
    let mut records = Vec::new();
    for (index, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        match Record::parse(line) {
            Ok(record) => records.push(record),
            // Only the last line can lack its newline.
            Err(_) if !line.ends_with(b"\n") => break,
            Err(error) => return Err(anyhow!("{}:{}: {error:#}", path.display(), index + 1)),
        }
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("metrics.jsonl");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    #[test]
    fn a_record_survives_the_round_trip() {
        let mut record = Record::new(7);
        record.set("loss", 0.1 + 0.2).set("note", "a \"quoted\" \u{2028} word").set("tiny", 1e-300).set("zero", -0.5);
        assert_eq!(Record::parse(record.to_line().as_bytes()).unwrap(), record);
        record.set("loss", f64::INFINITY);
        assert!(Record::parse(record.to_line().as_bytes()).unwrap().number("loss").unwrap().is_nan());
        assert_eq!(record.numbers().nth(1).unwrap().0, "loss", "setting again keeps the place");
    }

    #[test]
    fn a_torn_last_line_is_dropped() {
        let (_dir, path) = file("{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"lo");
        assert_eq!(read(&path).unwrap().len(), 2);
    }

    #[test]
    fn any_other_damage_is_an_error_with_its_line() {
        for (text, wanted) in [
            ("{\"step\":1}\n{\"step\":\n{\"step\":3}\n", ":2: expected one JSON object"),
            ("{\"step\":1}\n\n[1]\n", ":3: expected one JSON object"),
            ("{\"step\":{}}\n", ":1: field `step`: expected a number or text, got {}"),
        ] {
            let (_dir, path) = file(text);
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("metrics.jsonl") && error.contains(wanted), "{error}");
        }
    }
}
