//! JSON lines: one object per line, with errors that name file and line.

use std::fmt;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// Parses each line of `bytes` as an object, from which `read` makes a `T`, given the number of the line.
///
/// A byte-order mark, Windows line ends and blank lines are tolerated. `path` is only used in error messages.
///
/// # Errors
/// Returns [`Error::Line`] with the number of the first line that is not an object or that `read` refuses. If
/// the file is of another format, the message says which and how to convert it.
pub fn parse<T>(
    bytes: &[u8],
    path: &Path,
    read: impl Fn(usize, Map<String, Value>) -> Result<T, String>,
) -> Result<Vec<T>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let mut rows = Vec::new();
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let error = |message| Error::Line { path: path.to_owned(), line: index + 1, message };
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if let Some(message) = rows.is_empty().then(|| other_format(bytes, line)).flatten() {
            return Err(error(message));
        }
        let text = str::from_utf8(line).map_err(|e| error(format!("not UTF-8 ({e}); save the file as UTF-8")))?;
        let Object(object) = serde_json::from_str(text).map_err(|e| error(describe(&e)))?;
        rows.push(read(index + 1, object).map_err(error)?);
    }
    Ok(rows)
}

/// Returns the numbers of the lines of a file that hold no object. A last line without its newline does not
/// count: it is still being written, or its writer was killed.
pub fn damaged_lines(path: &Path) -> Result<Vec<usize>> {
    let mut file = BufReader::new(File::open(path).map_err(Error::io("read", path))?);
    let (mut line, mut damaged) = (Vec::new(), Vec::new());
    for number in 1.. {
        line.clear();
        file.read_until(b'\n', &mut line).map_err(Error::io("read", path))?;
        if !line.ends_with(b"\n") {
            break;
        }
        let text = line.trim_ascii();
        let whole = text.starts_with(b"{")
            && str::from_utf8(text).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
        if !whole && !text.is_empty() {
            damaged.push(number);
        }
    }
    Ok(damaged)
}

/// Deserialises a `T` from an object.
///
/// # Errors
/// Returns a message that names the missing or wrong key.
pub fn row<T: DeserializeOwned>(object: Map<String, Value>) -> Result<T, String> {
    serde_json::from_value(Value::Object(object)).map_err(|error| error.to_string())
}

/// Recognises a file of another format by its first bytes and its first line, and returns how to convert it to
/// JSON lines.
fn other_format(bytes: &[u8], line: &[u8]) -> Option<String> {
    let what = match bytes {
        [b'P', b'A', b'R', b'1', ..] => {
            "this is a Parquet file; write it as JSON lines: pandas.read_parquet(…).to_json(…, orient=\"records\", lines=True)"
        }
        [0x1f, 0x8b, ..] => "this is compressed with gzip; unpack it first: gunzip FILE",
        [0x28, 0xb5, 0x2f, 0xfd, ..] => "this is compressed with zstd; unpack it first: unzstd FILE",
        [b'P', b'K', 3, 4, ..] => "this is a zip archive; unpack it first",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "this is UTF-16; save the file as UTF-8",
        _ if line.starts_with(b"[") => {
            "a row is an object, but this begins an array; write one object per line: jq -c '.[]' FILE > rows.jsonl"
        }
        _ if !line.starts_with(b"{") && line.contains(&b',') && !line.contains(&b':') => {
            "this looks like CSV; write it as JSON lines: pandas.read_csv(…).to_json(…, orient=\"records\", lines=True)"
        }
        _ => return None,
    };
    Some(what.to_owned())
}

/// An object in which no key comes twice; otherwise one of the two values would be lost silently.
#[derive(Debug)]
pub struct Object(pub Map<String, Value>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object, {\"key\": value, …}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Object, A::Error> {
                let mut map = Map::new();
                while let Some((key, value)) = entries.next_entry::<String, Value>()? {
                    if map.insert(key.clone(), value).is_some() {
                        return Err(serde::de::Error::custom(format!("duplicate field `{key}`")));
                    }
                }
                Ok(Object(map))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}

/// Returns serde's message without its line number.
pub fn describe(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let reason = message.rfind(" at line ").map_or(message.as_str(), |at| &message[..at]);
    if error.is_data() { reason.to_owned() } else { format!("not valid JSON: {reason} at column {}", error.column()) }
}

/// Returns the keys of an object, quoted, for an error message.
pub fn keys(object: &Map<String, Value>) -> String {
    let keys: Vec<_> = object.keys().map(|key| format!("`{key}`")).collect();
    keys.join(", ")
}
