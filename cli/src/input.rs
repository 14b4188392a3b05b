//! Files that a command reads. The path `-` stands for standard input.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// Returns whether `path` stands for standard input.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns the file's name for messages.
pub(crate) fn name(path: &Path) -> Cow<'_, str> {
    if is_standard(path) { "standard input".into() } else { path.to_string_lossy() }
}

/// Reads all bytes of a file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read =
        if is_standard(path) { std::io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { std::fs::read(path) };
    read.with_context(|| format!("cannot read {}", name(path)))
}

/// Reads a file as text, or returns `None` if there is no such file.
pub(crate) fn text_if_there(path: &Path) -> Result<Option<String>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
    }
}

/// Reads a file as text.
pub(crate) fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).with_context(|| format!("{} is not UTF-8", name(path)))
}
