//! Operations on files and folders, with errors that name their paths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::command::{Outcome, output, program};

pub(crate) fn read(path: impl AsRef<Path>) -> Result<String, String> {
    fs::read_to_string(&path).map_err(failed("read", &path))
}

pub(crate) fn bytes(path: impl AsRef<Path>) -> Result<Vec<u8>, String> {
    fs::read(&path).map_err(failed("read", &path))
}

/// Copies a file, and creates the target's folder.
pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    create(to.parent().unwrap_or(to))?;
    match fs::copy(from, to) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot copy {} to {}: {error}", from.display(), to.display())),
    }
}

pub(crate) fn copy_into(folder: &Path, files: impl IntoIterator<Item = impl AsRef<Path>>) -> Outcome {
    files
        .into_iter()
        .try_for_each(|file| copy(file.as_ref(), &folder.join(file.as_ref().file_name().unwrap_or_default())))
}

/// Writes a file, and creates its folder.
pub(crate) fn write(path: &Path, text: &str) -> Outcome {
    create(path.parent().unwrap_or(path))?;
    fs::write(path, text).map_err(failed("write", path))
}

/// Creates a folder and those that contain it.
pub(crate) fn create(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(failed("create", folder))
}

/// Returns the paths in a folder, sorted.
pub(crate) fn list(folder: impl AsRef<Path>) -> Result<Vec<PathBuf>, String> {
    let entries = fs::read_dir(&folder).map_err(failed("list", &folder))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}

/// Returns the absolute paths of the repository's files that match these patterns, or None if git cannot list them.
pub(crate) fn listed_by_git(patterns: &[&str]) -> Option<Vec<PathBuf>> {
    const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let mut list = program("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]);
    let names = output(list.args(patterns).current_dir(ROOT))?;
    let paths = names.split_terminator('\0').map(|name| Path::new(ROOT).join(name));
    Some(paths.filter(|path| path.is_file()).collect())
}

/// Returns the paths in a folder that have this extension, sorted.
pub(crate) fn with_extension(folder: impl AsRef<Path>, extension: &str) -> Result<Vec<PathBuf>, String> {
    Ok(list(folder)?.into_iter().filter(|path| path.extension().is_some_and(|found| found == extension)).collect())
}

/// Removes a folder and everything in it, if it exists.
pub(crate) fn remove(folder: &Path) -> Outcome {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed("empty", folder)(error)),
        _ => Ok(()),
    }
}

/// Makes a symbolic link to a file.
pub(crate) fn link(file: &Path, name: &Path) -> Outcome {
    #[cfg(unix)]
    let made = std::os::unix::fs::symlink(file, name);
    #[cfg(not(unix))]
    let made = Err(io::Error::new(io::ErrorKind::Unsupported, format!("{} cannot be linked to", file.display())));
    made.map_err(failed("create", name))
}

/// Returns the absolute path of a file or folder, which need not exist.
pub(crate) fn absolute(path: impl AsRef<Path>) -> Result<PathBuf, String> {
    std::path::absolute(&path).map_err(failed("find", &path))
}

fn failed(action: &str, path: impl AsRef<Path>) -> impl Fn(io::Error) -> String {
    move |error| format!("cannot {action} {}: {error}", path.as_ref().display())
}
