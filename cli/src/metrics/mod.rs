//! Metrics of a run: one flat JSON object per step, one object per line (JSONL).
//!
//! A line is written and flushed whole, so a killed run loses at most the line it was writing; [`read`] drops that torn
//! line and refuses anything else that it cannot read. JSON has no NaN and no infinity: a value that is not finite is
//! written as `null` and read back as NaN. [`flowrl_core::metrics`] describes each number.

mod results;

pub use results::markdown_tables;
pub(crate) use results::{before_and_after, error_name, headlines, of_error, quantity_with_error, results, target};

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value as Json};

/// One value of a [`Record`].
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number. NaN stands for any value that was not finite.
    Number(f64),
    /// A piece of text.
    Text(String),
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

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
    fields: Vec<(String, Value)>,
}

impl Record {
    /// Creates a record with `step` as its first field.
    pub fn new(step: u64) -> Self {
        Self { fields: vec![("step".to_owned(), Value::Number(step as f64))] }
    }

    /// Sets the value of `name`, in place if the record has this name, else at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        let value = value.into();
        match self.fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, slot)) => *slot = value,
            None => self.fields.push((name.to_owned(), value)),
        }
        self
    }

    /// Returns the value of `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Returns the number of `name`: NaN if it was not finite, `None` if it is absent or text.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name)? {
            Value::Number(number) => Some(*number),
            Value::Text(_) => None,
        }
    }

    /// Returns the field `step`, if it is a whole number.
    pub fn step(&self) -> Option<u64> {
        self.number("step").filter(|step| *step >= 0.0 && step.fract() == 0.0).map(|step| step as u64)
    }

    /// Returns the names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Formats the record as one line of JSON, without the newline.
    pub fn to_line(&self) -> String {
        let fields = self.iter().map(|(name, value)| (name.to_owned(), to_json(value)));
        Json::Object(fields.collect::<Map<_, _>>()).to_string()
    }

    /// Reads one line of JSON.
    ///
    /// # Errors
    /// Returns an error for anything but one flat object of numbers, text, booleans (read as 0 and 1) and `null` (read
    /// as NaN).
    pub fn parse(line: &[u8]) -> Result<Self> {
        let object: Map<String, Json> = serde_json::from_slice(line).context("expected one JSON object per line")?;
        let fields = object.into_iter().map(|(name, value)| {
            let value = from_json(value).with_context(|| format!("field `{name}`"))?;
            Ok((name, value))
        });
        Ok(Self { fields: fields.collect::<Result<_>>()? })
    }
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Text(text) => Json::from(text.as_str()),
        Value::Number(x) if x.fract() == 0.0 && x.abs() < 9e15 => Json::from(*x as i64),
        Value::Number(x) => Json::from(*x),
    }
}

fn from_json(value: Json) -> Result<Value> {
    match value {
        Json::Null => Ok(Value::Number(f64::NAN)),
        Json::Bool(flag) => Ok(Value::Number(f64::from(u8::from(flag)))),
        Json::Number(number) => Ok(Value::Number(number.as_f64().unwrap_or(f64::NAN))),
        Json::String(text) => Ok(Value::Text(text)),
        Json::Array(_) | Json::Object(_) => bail!("expected a number or text, got {value}"),
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
        assert_eq!(record.iter().nth(1).unwrap().0, "loss", "setting again keeps the place");
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
