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

/// The text at `path`; made, and kept there, where it is not there whole.
///
/// # Errors
/// Those of `make`. A cache that cannot be written is none: the next process makes the text again.
pub(crate) fn text<E>(path: &Path, make: impl FnOnce() -> Result<String, E>) -> Result<String, E> {
    if let Some(text) = load(path) {
        return Ok(text);
    }
    let text = make()?;
    let _ = store(path, format!("{}\n{text}", check(&text)).as_bytes());
    Ok(text)
}

fn load(path: &Path) -> Option<String> {
    let file = std::fs::read_to_string(path).ok()?;
    let (first, text) = file.split_once('\n')?;
    (first == check(text)).then(|| text.to_owned())
}

/// The first line of a file, which fits its text alone. PTX takes it for a comment.
fn check(text: &str) -> String {
    format!("// {} bytes, {}", text.len(), key(&[text]))
}

/// Puts `bytes` at `path` as a whole or not at all.
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::process::Command;

    fn made(path: &Path, value: &str) -> (String, bool) {
        let mut called = false;
        let make = || {
            called = true;
            Ok::<_, Infallible>(value.to_owned())
        };
        let Ok(text) = text(path, make);
        (text, called)
    }

    #[test]
    fn what_was_made_once_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/x.ptx");
        assert_eq!(made(&path, "one\ntwo"), ("one\ntwo".to_owned(), true));
        assert_eq!(made(&path, "other"), ("one\ntwo".to_owned(), false));
        let failed: Result<String, &str> = text(&folder.path().join("y.ptx"), || Err("why"));
        assert_eq!(failed, Err("why"));
        assert!(!folder.path().join("y.ptx").exists());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ptx");
        made(&path, "a text of some length");
        let whole = std::fs::read(&path).unwrap();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() ^= 1;
        let without_check = whole.iter().skip_while(|byte| **byte != b'\n').copied().collect();
        let cut = whole[..whole.len() - 1].to_vec();
        for damaged in [cut, changed, without_check, Vec::new(), vec![0xff; 100]] {
            std::fs::write(&path, damaged).unwrap();
            assert_eq!(made(&path, "again"), ("again".to_owned(), true));
            assert_eq!(made(&path, "other"), ("again".to_owned(), false));
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_no_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let path = folder.path().join("file/x.ptx");
        assert_eq!(made(&path, "one"), ("one".to_owned(), true));
        assert_eq!(made(&path, "two"), ("two".to_owned(), true));
    }

    #[test]
    fn keys_differ_by_every_part() {
        let keys = [key(&["ab", "c"]), key(&["a", "bc"]), key(&["abc"]), key(&["ab", "d"])];
        for (i, one) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|other| other != one), "{keys:?}");
        }
        assert_eq!(key(&["ab", "c"]), keys[0]);
    }

    /// What a process of the next test does: replaces a file and reads it, many times.
    #[test]
    fn a_process_writes_and_reads() {
        const TIMES: usize = 100;
        let Some(path) = std::env::var_os("FLOWRL_TEST_CACHED_FILE").map(PathBuf::from) else { return };
        for i in 0..TIMES {
            let text = i.to_string().repeat(1_000);
            store(&path, format!("{}\n{text}", check(&text)).as_bytes()).unwrap();
            assert!(load(&path).is_some(), "half of a file was read");
        }
    }

    #[test]
    fn processes_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.ptx");
        let start = || {
            let mut process = Command::new(std::env::current_exe().unwrap());
            process.args(["--exact", "cache::tests::a_process_writes_and_reads"]);
            process.env("FLOWRL_TEST_CACHED_FILE", &path).stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        for mut process in [start(), start(), start()] {
            assert!(process.wait().unwrap().success());
        }
        assert!(load(&path).is_some());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
