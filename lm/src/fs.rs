//! Files and folders that are written whole or not at all, even if the program is interrupted.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};

/// Writes `bytes` to `path` so that a reader sees either the old content or the new, never a part.
///
/// The bytes go to a temporary file in the same folder, which is flushed to the disk and renamed over `path`.
///
/// # Errors
/// Returns [`Error::Io`], which names the step that failed. If the file could not be written or renamed, the
/// temporary file is removed and `path` is as it was.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("state.json");
/// flowrl_lm::fs::atomic_write(&path, b"{\"step\": 1}")?;
/// flowrl_lm::fs::atomic_write(&path, b"{\"step\": 2}")?;
/// assert_eq!(std::fs::read_to_string(&path)?, "{\"step\": 2}");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn atomic_write(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_write_by(path, |file| file.write_all(bytes))
}

/// Writes a file with `fill`, as atomically as [`atomic_write`] does.
pub(crate) fn atomic_write_by(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let temporary = sibling(path, "tmp");
    let result = write_synced(&temporary, fill)
        .and_then(|()| fs::rename(&temporary, path).map_err(Error::io("rename to", path)));
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result?;
    sync_folder(parent(path))
}

/// Fills a new folder with `fill` and puts it at `path`, replacing any folder that is already there.
///
/// `fill` gets a temporary folder next to `path`. If it succeeds, an old folder at `path` is renamed away, the new one
/// is renamed to `path`, and only then is the old one deleted: at every moment a complete version is on the disk.
///
/// # Errors
/// Returns the error of `fill`, or [`Error::Io`]. If the new folder could not be filled or renamed, the folder
/// at `path` is as it was.
pub(crate) fn atomic_replace_dir(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    // The components of `a/b/` are those of `a/b`.
    let path = &path.components().collect::<PathBuf>();
    let (new, old) = (sibling(path, "tmp"), sibling(path, "old"));
    fs::create_dir_all(parent(path)).map_err(Error::io("create", parent(path)))?;
    fs::create_dir(&new).map_err(Error::io("create", &new))?;
    let result = fill(&new).and_then(|()| sync_folder(&new)).and_then(|()| swap_in(&new, path, &old));
    if result.is_err() {
        let _ = fs::remove_dir_all(&new);
        return result;
    }
    sync_folder(parent(path))?;
    match fs::remove_dir_all(&old) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("delete", &old)(error)),
        _ => Ok(()),
    }
}

/// Renames `path`, if it exists, to `old`, and `new` to `path`. If the second step fails, the first is undone.
fn swap_in(new: &Path, path: &Path, old: &Path) -> Result<()> {
    match fs::rename(path, old) {
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        other => other.map_err(Error::io("rename", path))?,
    }
    fs::rename(new, path).map_err(|error| {
        let _ = fs::rename(old, path);
        Error::io("rename to", path)(error)
    })
}

/// Creates `path`, which must not exist, fills it with `fill` and flushes it to the disk.
pub(crate) fn write_synced(path: &Path, fill: impl FnOnce(&mut File) -> std::io::Result<()>) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(Error::io("create", path))?;
    fill(&mut file).and_then(|()| file.sync_all()).map_err(Error::io("write", path))
}

/// Reads the bytes of a file, or returns [`None`] if it does not exist.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// Makes renames in `folder` durable. Only Unix can open a folder to flush it; on other systems this function
/// does nothing.
fn sync_folder(folder: &Path) -> Result<()> {
    if cfg!(unix) {
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(Error::io("flush", folder))?;
    }
    Ok(())
}

/// Returns the folder that holds `path`.
fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Returns a path in the folder of `path` that no other process or thread uses: `.NAME.PROCESS-COUNT.suffix`.
pub fn sibling(path: &Path, suffix: &str) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{count}.{suffix}", std::process::id()));
    parent(path).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("inside"), "x").unwrap();
        let error = atomic_write(&path, b"new").unwrap_err();
        assert!(error.to_string().contains("taken"), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_replaced_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/model/");
        atomic_replace_dir(&path, |new| atomic_write(&new.join("a"), b"1")).unwrap();
        atomic_replace_dir(&path, |new| atomic_write(&new.join("b"), b"2")).unwrap();
        assert!(!path.join("a").exists());
        assert_eq!(fs::read(path.join("b")).unwrap(), b"2");
        assert_eq!(fs::read_dir(folder.path().join("deep")).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_fill_leaves_the_old_folder() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        atomic_replace_dir(&path, |new| atomic_write(&new.join("a"), b"1")).unwrap();
        let result = atomic_replace_dir(&path, |new| {
            atomic_write(&new.join("b"), b"2")?;
            Err(Error::argument("x", 1, 2))
        });
        assert!(result.is_err());
        assert_eq!(fs::read(path.join("a")).unwrap(), b"1");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
