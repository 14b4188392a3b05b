//! Node and the packages that build and test the page, as `wasm/www/package-lock.json` pins them.

use super::PAGE;
use crate::Outcome;
use crate::command::{output, program, run};
use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

pub(crate) const PLAYWRIGHT: &str = "@playwright/test/cli.js";
pub(crate) const TSC: &str = "typescript/bin/tsc";
pub(crate) const VITE: &str = "vite/bin/vite.js";
pub(crate) const WASM_OPT: &str = "binaryen/bin/wasm-opt";
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// What is missing to build a page, in words that say what to install.
pub(crate) fn missing() -> Option<String> {
    [("node", "Node.js 20 or later"), (NPM, "npm, which comes with Node.js")].into_iter().find_map(|(name, brings)| {
        let there = output(program(name, &["--version"])).is_some();
        (!there).then(|| format!("no {name} here; install {brings}"))
    })
}

/// Installs the packages, if they are not there or the lock file is newer.
pub(crate) fn install() -> Outcome {
    if let Some(why) = missing() {
        return Err(why);
    }
    let changed = |path: &str| Path::new(PAGE).join(path).metadata().and_then(|file| file.modified()).ok();
    if is_current(changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        return Ok(());
    }
    run(program(NPM, &["ci", "--prefix", PAGE, "--no-audit", "--no-fund"]))
}

fn is_current(installed: Option<SystemTime>, locked: Option<SystemTime>) -> bool {
    matches!((installed, locked), (Some(installed), Some(locked)) if installed >= locked)
}

/// A program of an installed package, run in the folder of the page.
pub(crate) fn tool(script: &str, words: &[&str]) -> Command {
    let mut command = program("node", &[&format!("node_modules/{script}")]);
    command.args(words).current_dir(PAGE);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn packages_older_than_the_lock_file_are_installed_again() {
        let (old, new) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert!(is_current(Some(new), Some(old)));
        assert!(!is_current(Some(old), Some(new)));
        assert!(!is_current(None, Some(old)));
    }
}
