//! An on-disk cache of compiled kernels, so that each is compiled once per machine.
//!
//! Files loaded from the cache run with the user's rights, so no other user may be able to write them. Users therefore
//! share no folder, folders are private, and a file is loaded only if its owner and mode show that it is the user's
//! own.

use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use flowrl_lm::fs::sibling;

use crate::notice;

/// Returns the cache folder: `FLOWRL_CACHE_DIR`, or `flowrl` in the user's cache folder. An error is advice on which
/// variable to set.
pub(crate) fn folder() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("FLOWRL_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("flowrl")))
        .or_else(|| set("HOME").map(|home| home.join(".cache").join("flowrl")))
        .ok_or_else(|| {
            "none of FLOWRL_CACHE_DIR, XDG_CACHE_HOME and HOME is set; set FLOWRL_CACHE_DIR to a folder of your own"
                .to_owned()
        })
}

/// Returns the folder for one kind of compiled files, which only the user can write to. Creates it if necessary. An error
/// is a reason and a remedy.
pub(crate) fn private(kind: &str) -> Result<PathBuf, String> {
    private_in(&folder()?, kind)
}

pub(crate) fn private_in(root: &Path, kind: &str) -> Result<PathBuf, String> {
    let folder = root.join(kind);
    create(&folder)
        .map_err(|error| format!("{}: {error}", folder.display()))
        .and_then(|()| keep_private(root, &folder))
        .map_err(|why| format!("{why}; set FLOWRL_CACHE_DIR to a writable folder of your own"))?;
    Ok(folder)
}

/// Creates a folder and its missing parents, accessible to this user only.
fn create(folder: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(folder)
}

/// Closes `folder` to other users. Returns an error if another user owns it or could replace it.
#[cfg(unix)]
fn keep_private(root: &Path, folder: &Path) -> Result<(), String> {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    /// The mode bit of a folder in which only an entry's owner can replace that entry.
    const STICKY: u32 = 0o1000;
    for path in [root, folder] {
        let metadata = path.metadata().map_err(|error| format!("{}: {error}", path.display()))?;
        let (owner, mode, own) = (metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw());
        if path == folder && owner == own && mode & 0o077 != 0 {
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o700))
                .map_err(|error| format!("{}: {error}", path.display()))?;
            continue;
        }
        let is_sticky = path == root && mode & STICKY != 0;
        if let Some(why) = distrust(owner, if is_sticky { 0 } else { mode }, own) {
            let path = path.display();
            let advice = if owner == own { format!(": `chmod go-w {path}`") } else { String::new() };
            return Err(format!("{path} {why}{advice}"));
        }
    }
    Ok(())
}

/// Does nothing: on other systems a user's folder is already closed to other users.
#[cfg(not(unix))]
fn keep_private(_: &Path, _: &Path) -> Result<(), String> {
    Ok(())
}

/// Returns why a file with this owner and mode may come from a user other than `own`, if so. Files of the superuser are
/// trusted because the superuser can do anything anyway.
#[cfg(unix)]
fn distrust(owner: u32, mode: u32, own: u32) -> Option<String> {
    if owner != own && owner != 0 {
        return Some(format!("belongs to another user ({owner}, not {own})"));
    }
    (mode & 0o022 != 0).then(|| format!("can be written by other users (mode {:o})", mode & 0o7777))
}

/// Opens a cached file. Returns `None` if the file is missing, or with a notice if it may come from another user.
pub(crate) fn open(path: &Path) -> Option<File> {
    let file = File::open(path).ok()?;
    // Checks the open file itself, because its name may since refer to another file.
    let metadata = file.metadata().ok()?;
    #[cfg(unix)]
    let why = {
        use std::os::unix::fs::MetadataExt;
        distrust(metadata.uid(), metadata.mode(), rustix::process::geteuid().as_raw())
    };
    #[cfg(not(unix))]
    let why: Option<String> = None;
    if let Some(why) = why {
        let path = path.display();
        notice::say(
            "cache",
            &format!(
                "{path} {why}, so it is not loaded: its kernels are compiled again; remove the file unless you put it there"
            ),
        );
        return None;
    }
    metadata.is_file().then_some(file)
}

/// Returns a file name derived from these parts and the program's version.
pub(crate) fn key(parts: &[&str]) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), parts).hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// Returns the bytes cached at `path`. If the file is missing or damaged, calls `make` and caches its result.
///
/// An unwritable cache is no error: the next process makes the bytes again.
pub(crate) fn bytes<E>(path: &Path, make: impl FnOnce() -> Result<Vec<u8>, E>) -> Result<Vec<u8>, E> {
    if let Some(bytes) = load(path) {
        return Ok(bytes);
    }
    let bytes = make()?;
    let _ = store(path, &checked(&bytes));
    Ok(bytes)
}

fn load(path: &Path) -> Option<Vec<u8>> {
    let mut file = Vec::new();
    open(path)?.read_to_end(&mut file).ok()?;
    let end = file.iter().position(|byte| *byte == b'\n')?;
    let bytes = file.split_off(end + 1);
    (file == check(&bytes).as_bytes()).then_some(bytes)
}

/// Returns the contents of a cache file: a checksum line followed by the bytes.
fn checked(bytes: &[u8]) -> Vec<u8> {
    [check(bytes).as_bytes(), bytes].concat()
}

fn check(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    (env!("CARGO_PKG_VERSION"), bytes).hash(&mut hasher);
    format!("{} bytes, {:016x}\n", bytes.len(), hasher.finish())
}

/// Stores `bytes` at `path` atomically.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    create(path.parent().unwrap_or(Path::new(".")))?;
    let temporary = sibling(path, "tmp");
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let written = options.open(&temporary).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| std::fs::rename(&temporary, path)).inspect_err(|_| {
        let _ = std::fs::remove_file(&temporary);
    })
}

/// Removes other users' access to a file that another program created, before the file gets its final name.
pub(crate) fn make_private(path: &Path) -> std::io::Result<()> {
    #[cfg(unix)]
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700))?;
    #[cfg(not(unix))]
    let _ = path;
    Ok(())
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
            Ok::<_, Infallible>(value.as_bytes().to_owned())
        };
        let Ok(bytes) = bytes(path, make);
        (String::from_utf8(bytes).unwrap(), called)
    }

    #[test]
    fn what_was_made_once_is_not_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/x");
        assert_eq!(made(&path, "one\ntwo"), ("one\ntwo".to_owned(), true));
        assert_eq!(made(&path, "other"), ("one\ntwo".to_owned(), false));
        let failed: Result<Vec<u8>, &str> = bytes(&folder.path().join("y"), || Err("why"));
        assert_eq!(failed, Err("why"));
        assert!(!folder.path().join("y").exists());
    }

    #[test]
    fn a_damaged_file_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
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
        let path = folder.path().join("file/x");
        assert_eq!(made(&path, "one"), ("one".to_owned(), true));
        assert_eq!(made(&path, "two"), ("two".to_owned(), true));
    }

    /// A file that another user may have written is made again, with a notice.
    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_write_is_not_used() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        made(&path, "one");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(notice::collect(|| made(&path, "two")), (("one".to_owned(), false), vec![]));
        for mode in [0o620, 0o602, 0o777] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
            let (made, notices) = notice::collect(|| made(&path, "two"));
            assert_eq!(made, ("two".to_owned(), true), "{mode:o}");
            assert!(notices[0].contains("can be written by other users") && notices[0].contains("/x"), "{notices:?}");
        }
        assert_eq!(made(&path, "three"), ("two".to_owned(), false), "its place is the user's again");
    }

    #[cfg(unix)]
    #[test]
    fn only_the_users_own_files_are_trusted() {
        assert_eq!(distrust(1000, 0o100600, 1000), None);
        assert_eq!(distrust(0, 0o100644, 1000), None);
        assert!(distrust(1001, 0o100600, 1000).unwrap().contains("another user (1001, not 1000)"));
        assert!(distrust(1000, 0o100664, 1000).unwrap().contains("mode 664"));
        assert!(distrust(0, 0o100666, 1000).unwrap().contains("other users"));
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("new");
        let kernels = private_in(&root, "kernels").unwrap();
        assert_eq!((mode(&root), mode(&kernels)), (0o700, 0o700));
        // An existing folder that is open to all is closed. Its parent may stay open unless others can write to it.
        set(&kernels, 0o777);
        set(&root, 0o755);
        assert_eq!(private_in(&root, "kernels"), Ok(kernels.clone()));
        assert_eq!((mode(&root), mode(&kernels)), (0o755, 0o700));
        set(&root, 0o777);
        let why = private_in(&root, "kernels").unwrap_err();
        for words in ["can be written by other users", "`chmod go-w /", "FLOWRL_CACHE_DIR"] {
            assert!(why.contains(words), "{why}");
        }
        // In a sticky folder such as /tmp, users cannot replace each other's files.
        set(&root, 0o1777);
        assert_eq!(private_in(&root, "kernels"), Ok(kernels));
    }

    #[test]
    fn keys_differ_by_every_part() {
        let keys = [key(&["ab", "c"]), key(&["a", "bc"]), key(&["abc"]), key(&["ab", "d"])];
        for (i, one) in keys.iter().enumerate() {
            assert!(keys[i + 1..].iter().all(|other| other != one), "{keys:?}");
        }
        assert_eq!(key(&["ab", "c"]), keys[0]);
    }

    /// The body of each process in the next test: replaces a file and reads it, many times.
    #[test]
    fn a_process_writes_and_reads() {
        const TIMES: usize = 100;
        let Some(path) = std::env::var_os("FLOWRL_TEST_CACHED_FILE").map(PathBuf::from) else { return };
        for i in 0..TIMES {
            let text = i.to_string().repeat(1_000);
            store(&path, &checked(text.as_bytes())).unwrap();
            assert!(load(&path).is_some(), "half of a file was read");
        }
    }

    #[test]
    fn processes_do_not_disturb_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
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
