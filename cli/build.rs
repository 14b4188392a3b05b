//! Tells the program which commit it was built from.
//!
//! Of release builds alone: while one works on it, each commit would compile the crate once more.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let set = |name: &str, value: &str| println!("cargo::rustc-env={name}={value}");
    set("FLOWRL_TARGET", &std::env::var("TARGET").unwrap_or_default());
    set("FLOWRL_FEATURES", if std::env::var_os("CARGO_FEATURE_CUDA").is_some() { "cuda" } else { "none" });
    let is_release = std::env::var("PROFILE").as_deref() == Ok("release");
    let Some((commit, log)) = is_release.then(|| commit(Path::new("."))).flatten() else {
        set("FLOWRL_COMMIT_SHOWN", "");
        return;
    };
    println!("cargo::rerun-if-changed={log}");
    set("FLOWRL_COMMIT", &commit);
    set("FLOWRL_COMMIT_SHOWN", &format!(" (commit {commit})"));
}

/// The commit that is checked out in a folder, and the file that grows with each; none outside of a repository, or without git.
///
/// A package from a registry is in no repository, or in one of its user's, but has the commit that it was made from.
pub(crate) fn commit(folder: &Path) -> Option<(String, String)> {
    const PACKAGED: &str = ".cargo_vcs_info.json";
    if let Ok(text) = std::fs::read_to_string(folder.join(PACKAGED)) {
        let (_, commit) = text.split_once("\"sha1\": \"")?;
        return Some((commit.get(..12)?.to_owned(), PACKAGED.to_owned()));
    }
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(folder).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.trim().to_owned())
    };
    Some((git(&["rev-parse", "--short=12", "HEAD"])?, git(&["rev-parse", "--git-path", "logs/HEAD"])?))
}
