//! Compiled kernels on disk, so that each is compiled once on a machine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The folder: `FLOWRL_CACHE_DIR`, or `flowrl` in the user's cache folder, or in the temporary folder.
pub(crate) fn folder() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("FLOWRL_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("flowrl")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("flowrl")))
        .unwrap_or_else(|| std::env::temp_dir().join("flowrl"))
}

/// A file name for what these parts describe, and for this version of the program.
pub(crate) fn key(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), parts).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Puts `bytes` at `path` as a whole or not at all. A cache that cannot be written is no error: the next process compiles again.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let temporary = temporary(path);
    let written = std::fs::File::create(&temporary).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| std::fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// A name beside `path` that no other process or thread uses.
pub(crate) fn temporary(path: &Path) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{}.tmp", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    path.with_file_name(name)
}
