//! Installs what is missing, if that needs no confirmation.

use std::path::Path;

use crate::command::{Outcome, cargo, output, printed, program, run};

const BROWSERS: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// Chromium and a font. A bare system has no font, and text without one has no size.
const BROWSER_PACKAGES: [&str; 2] = ["chromium", "fonts-dejavu-core"];

/// Returns whether a program runs. Some packages install only a script that says how to install the program.
pub(crate) fn is_there(name: &str) -> bool {
    output(program(name, &["--version"])).is_some()
}

/// Installs packages by apt, as root or in CI on Debian and Ubuntu. Otherwise returns an error that says how to install
/// them.
pub(crate) fn packages(names: &[&str]) -> Outcome {
    let (root, ci) = (output(program("id", &["-u"])).as_deref() == Some("0"), std::env::var_os("CI").is_some());
    if !(root || ci) || !is_there("apt-get") {
        return Err(format!("`apt-get install {}` installs it on Debian and Ubuntu", names.join(" ")));
    }
    run(program("apt-get", &["update"]))?;
    run(program("apt-get", &["install", "--yes", "--no-install-recommends"]).args(names))
}

pub(crate) fn tool(name: &str, package: &str) -> Outcome {
    if is_there(name) {
        return Ok(());
    }
    packages(&[package]).map_err(|why| format!("{name} is not installed; {why}"))?;
    if is_there(name) { Ok(()) } else { Err(format!("apt-get installed {package}, but {name} does not run")) }
}

/// Returns the name of the C++ compiler, with which the emulator compiles kernels.
pub(crate) fn compiler_name() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

pub(crate) fn compiler() -> Outcome {
    tool(&compiler_name(), "g++")
}

/// Installs a component of the toolchain if `cargo SUBCOMMAND` does not run.
pub(crate) fn component(component: &str, subcommand: &str) -> Outcome {
    if output(cargo(&[subcommand, "--version"])).is_some() {
        return Ok(());
    }
    run(program("rustup", &["component", "add", component]))
}

/// Installs a target of the compiler if it is missing.
pub(crate) fn target(target: &str) -> Outcome {
    let sysroot = printed(program("rustc", &["--print", "sysroot"]))?;
    if Path::new(&sysroot).join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    run(program("rustup", &["target", "add", target]))
        .map_err(|why| format!("the target {target} is not installed, and adding it failed: {why}"))
}

/// Returns a browser that runs: the one that the variable CHROMIUM names, or else one of the system. If there is none,
/// tries to install it.
pub(crate) fn browser() -> Result<String, String> {
    if let Ok(named) = std::env::var("CHROMIUM") {
        return match is_there(&named) {
            true => Ok(named),
            false => Err(format!("CHROMIUM is set to `{named}`, which does not run")),
        };
    }
    if let Some(found) = installed_browser() {
        return Ok(found);
    }
    packages(&BROWSER_PACKAGES).map_err(|why| format!("Chromium is not installed: {why}"))?;
    installed_browser().ok_or_else(|| "apt-get installed chromium, but it does not run".to_owned())
}

/// Returns the full path of an installed browser, since Playwright does not search PATH.
fn installed_browser() -> Option<String> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders)
        .flat_map(|folder| BROWSERS.map(|name| folder.join(name).to_string_lossy().into_owned()))
        .find(|path| is_there(path))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_does_not_run_is_not_there() {
        assert!(!super::is_there("no-such-browser-here"));
    }
}
