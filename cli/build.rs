//! Tells the program which commit it was built from.
//!
//! Of release builds alone: while one works on it, each commit would compile the crate once more.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    if let Some((commit, log)) = commit(Path::new(".")) {
        println!("cargo::rerun-if-changed={log}");
        println!("cargo::rustc-env=FLOWRL_COMMIT={commit}");
    }
}

/// The commit that is checked out in a folder, and the file that grows with each; none outside of a repository, or without git.
pub(crate) fn commit(folder: &Path) -> Option<(String, String)> {
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).current_dir(folder).output().ok()?;
        let text = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
        Some(text.trim().to_owned())
    };
    Some((git(&["rev-parse", "--short=12", "HEAD"])?, git(&["rev-parse", "--git-path", "logs/HEAD"])?))
}
