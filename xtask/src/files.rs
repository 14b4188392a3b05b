//! Operations on files and folders, with errors that name their paths.

use crate::Outcome;
use std::path::{Path, PathBuf};

/// Copies a file, and creates the target's folder.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    std::fs::create_dir_all(folder_of(to))
        .and_then(|()| std::fs::copy(from, to).map(|_| ()))
        .map_err(|error| format!("cannot copy {} to {}: {error}", from.display(), to.display()))
}

/// Writes a file, and creates its folder.
pub(crate) fn write(path: &Path, text: &str) -> Outcome {
    std::fs::create_dir_all(folder_of(path))
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Returns the paths in a folder, sorted.
pub(crate) fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Removes a folder and everything in it, if it exists.
pub(crate) fn remove(folder: &Path) -> Outcome {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot empty {}: {error}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}
