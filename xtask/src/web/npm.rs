//! Node.js, and the packages that build and test the page. `wasm/www/package-lock.json` pins them.

use std::path::Path;
use std::process::Command;
use std::time::SystemTime;

use crate::command::{Check, Unpassed, output, program, run};
use crate::install;

pub(crate) const PLAYWRIGHT: &str = "@playwright/test/cli.js";
pub(crate) const TSC: &str = "typescript/bin/tsc";
pub(crate) const VITE: &str = "vite/bin/vite.js";
pub(crate) const WASM_OPT: &str = "binaryen/bin/wasm-opt";
const PAGE: &str = "wasm/www";
/// The oldest major version of Node.js that Vite supports.
const OLDEST: u32 = 20;
const NPM: &str = if cfg!(windows) { "npm.cmd" } else { "npm" };

/// Returns an error that says what to install if Node.js or npm is missing or too old.
fn node() -> Result<(), String> {
    let version = output(program("node", &["--version"]));
    if version.as_deref().and_then(major).is_none_or(|major| major < OLDEST) {
        let found = version.unwrap_or("not installed".to_owned());
        return Err(format!("node is {found}; install Node.js {OLDEST} or later"));
    }
    if !install::is_there(NPM) {
        return Err(format!("{NPM} is not installed; it comes with Node.js, on some systems as a separate package"));
    }
    Ok(())
}

/// Returns the major version, for example 20 from `v20.19.1`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

/// Installs the packages if they are missing or older than the lock file.
pub(crate) fn install() -> Check {
    node().map_err(Unpassed::Skipped)?;
    let changed = |path: &str| Path::new(PAGE).join(path).metadata().and_then(|file| file.modified()).ok();
    if is_current(changed("node_modules/.package-lock.json"), changed("package-lock.json")) {
        return Ok(());
    }
    Ok(run(program(NPM, &["ci", "--prefix", PAGE, "--no-audit", "--no-fund"]))?)
}

fn is_current(installed: Option<SystemTime>, locked: Option<SystemTime>) -> bool {
    matches!((installed, locked), (Some(installed), Some(locked)) if installed >= locked)
}

/// Returns a command that runs a program of an installed package in the folder of the page.
pub(crate) fn tool(name: &str, words: &[&str]) -> Command {
    script(&format!("node_modules/{name}"), words)
}

/// Returns a command that runs a script of the page's folder in that folder.
pub(crate) fn script(name: &str, words: &[&str]) -> Command {
    let mut command = program("node", &[name]);
    command.args(words).current_dir(PAGE);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_version_of_node_is_read() {
        assert_eq!(major("v20.19.1"), Some(20));
        assert_eq!(major("node"), None);
    }

    #[test]
    fn packages_older_than_the_lock_file_are_installed_again() {
        let (old, new) = (SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + Duration::from_secs(1));
        assert!(is_current(Some(new), Some(old)));
        assert!(!is_current(Some(old), Some(new)));
        assert!(!is_current(None, Some(old)));
    }
}
