//! Typed access to single values of a JSON object.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The keys of a JSON object, with errors that name file and key.
pub(super) struct Keys<'a> {
    map: &'a Map<String, Value>,
    path: &'a Path,
    prefix: &'static str,
}

impl<'a> Keys<'a> {
    /// The largest size accepted, which keeps every product of sizes within 64 bits.
    const MAX_SIZE: usize = 1 << 24;

    /// Wraps the top-level object of a file.
    pub(super) fn new(map: &'a Map<String, Value>, path: &'a Path) -> Self {
        Self { map, path, prefix: "" }
    }

    /// Wraps an object within the file; `prefix` is its name followed by a dot.
    pub(super) fn within(&self, map: &'a Map<String, Value>, prefix: &'static str) -> Self {
        Self { map, prefix, ..*self }
    }

    /// Returns the value of `key`; `null` counts as absent.
    pub(super) fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|value| !value.is_null())
    }

    pub(super) fn error(&self, key: &str, wanted: &str) -> Error {
        Error::Config {
            path: PathBuf::from(self.path),
            key: format!("{}{key}", self.prefix),
            got: self.map.get(key).map_or("missing".to_owned(), Value::to_string),
            wanted: wanted.to_owned(),
        }
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.error(key, "a string"))
    }

    pub(super) fn flag(&self, key: &str) -> Result<bool> {
        let Some(value) = self.get(key) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.error(key, "true or false"))
    }

    pub(super) fn size(&self, key: &str, default: Option<usize>) -> Result<usize> {
        let size = self.get(key).map_or(default, |value| value.as_u64().and_then(|n| usize::try_from(n).ok()));
        let allowed = size.filter(|n| (1..=Self::MAX_SIZE).contains(n));
        allowed.ok_or_else(|| self.error(key, &format!("a whole number from 1 to {}", Self::MAX_SIZE)))
    }

    pub(super) fn positive(&self, key: &str, default: Option<f64>) -> Result<f64> {
        let number = self.get(key).map_or(default, Value::as_f64);
        number.filter(|x| *x > 0.0 && x.is_finite()).ok_or_else(|| self.error(key, "a number above 0"))
    }

    /// Reads a token id or a list of them, without repetitions, in the order of the file.
    pub(super) fn token_ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.error(key, "a token id or a list of token ids"))
        };
        let mut ids = Vec::new();
        match self.get(key) {
            None => {}
            Some(Value::Array(list)) => add_new(&mut ids, list.iter().map(id).collect::<Result<Vec<_>>>()?),
            Some(value) => ids.push(id(value)?),
        }
        Ok(ids)
    }
}

/// Appends the elements of `more` that are not in `ids` yet.
pub(crate) fn add_new(ids: &mut Vec<u32>, more: impl IntoIterator<Item = u32>) {
    for id in more {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
}
