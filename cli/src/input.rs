//! Files that a command reads, `-` being standard input.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result};

/// Whether standard input is meant.
fn is_standard(path: &Path) -> bool {
    path == Path::new("-")
}

/// The file's name for people.
pub(crate) fn name(path: &Path) -> Cow<'_, str> {
    if is_standard(path) { "standard input".into() } else { path.to_string_lossy() }
}

/// All bytes of a file.
///
/// # Errors
/// One that cannot be read.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read =
        if is_standard(path) { std::io::stdin().read_to_end(&mut bytes).map(|_| bytes) } else { std::fs::read(path) };
    read.with_context(|| format!("cannot read {}", name(path)))
}

/// A file of text.
///
/// # Errors
/// One that cannot be read, or is no UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).with_context(|| format!("{} is not UTF-8", name(path)))
}
