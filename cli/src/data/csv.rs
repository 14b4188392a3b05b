//! Values between separators.

use anyhow::{Result, anyhow, bail, ensure};
use csv::{ErrorKind, Position, ReaderBuilder};
use serde_json::{Map, Value};

use crate::note;

/// Returns the rows below the line of names, with their lines. Every value is a text.
pub(super) fn rows(bytes: &[u8], name: &str, separator: u8) -> Result<Vec<(usize, Map<String, Value>)>> {
    let bytes = super::format::unmarked(bytes);
    let mut lines = Lines { bytes, start: 0, line: 1 };
    let line = |position: Option<&Position>| Lines { bytes, start: 0, line: 1 }.at(position);
    let mut reader = ReaderBuilder::new().delimiter(separator).from_reader(bytes);
    let wrong = |error: csv::Error| match error.kind() {
        ErrorKind::UnequalLengths { pos, expected_len, len } => anyhow!(
            "{name}:{}: {len} values below {expected_len} names; put a value with a separator or a line break in quotes",
            line(pos.as_ref())
        ),
        ErrorKind::Utf8 { pos, .. } => {
            anyhow!("{name}:{}: not UTF-8; save the file as UTF-8", line(pos.as_ref()))
        }
        _ => anyhow!("{name}: {error}"),
    };
    let names: Vec<String> = reader.headers().map_err(wrong)?.iter().map(|name| name.trim().to_owned()).collect();
    for (i, column) in names.iter().enumerate() {
        // Pandas writes the number of each row into a first column without a name.
        ensure!(!column.is_empty() || i == 0, "{name}:1: column {} has no name", i + 1);
        ensure!(!names[..i].contains(column), "{name}:1: two columns are named `{column}`; rename one of them");
    }
    if names[0].is_empty() {
        note!("{name}: the first column has no name and is left out");
    }
    let mut rows = Vec::new();
    let mut last = (0, 0);
    for record in reader.records() {
        let record = record.map_err(wrong)?;
        let line = lines.at(record.position());
        last = (line, record.iter().flat_map(str::bytes).filter(|&byte| byte == b'\n').count());
        let pairs = names.iter().zip(&record).filter(|(name, _)| !name.is_empty());
        rows.push((line, pairs.map(|(name, value)| (name.clone(), value.into())).collect()));
    }
    // A quote that is never closed takes in the rest of the file.
    if last.1 > 0 && bytes.iter().filter(|&&byte| byte == b'"').count() % 2 == 1 {
        bail!("{name}:{}: a quote opens in this row and is never closed", last.0);
    }
    Ok(rows)
}

/// Counts lines. The reader's own count is one less after a Windows line end.
struct Lines<'a> {
    bytes: &'a [u8],
    start: usize,
    line: usize,
}

impl Lines<'_> {
    /// Returns the line of the first text at a position, which is not before the last one.
    fn at(&mut self, position: Option<&Position>) -> usize {
        let at = position.map_or(0, |position| position.byte() as usize).clamp(self.start, self.bytes.len());
        let blank = self.bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        self.line += self.bytes[self.start..at + blank].iter().filter(|&&byte| byte == b'\n').count();
        self.start = at + blank;
        self.line
    }
}
