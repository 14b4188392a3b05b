//! JSON lines: one value a line, with errors that name file and line.

use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Parses each line of `bytes` as a `T` and checks it by `check`.
///
/// A byte-order mark, Windows line ends and blank lines are tolerated. `path` is used in messages only.
pub(crate) fn parse<T: DeserializeOwned>(
    bytes: &[u8],
    path: &Path,
    check: impl Fn(&T) -> Result<(), String>,
) -> Result<Vec<T>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut rows = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let error = |message| Error::Line { path: path.to_owned(), line: index + 1, message };
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let text = str::from_utf8(line).map_err(|e| error(format!("not UTF-8 ({e}); save the file as UTF-8")))?;
        let row: T = serde_json::from_str(text).map_err(|e| error(describe(&e)))?;
        check(&row).map_err(error)?;
        rows.push(row);
    }
    Ok(rows)
}

/// serde's message without its line number, which is always 1 here.
fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rfind(" at line ").map_or(message.as_str(), |at| &message[..at]);
    if error.is_data() { reason.to_owned() } else { format!("not valid JSON: {reason} at column {}", error.column()) }
}
