//! `cargo xtask web`: builds the browser lab, from Rust to a folder of static files.

pub(crate) mod bench;
mod browser;
mod module;
mod npm;
mod package;
mod sizes;

use crate::command::{cargo, compile, program, run as run_command};
use crate::{Args, Outcome, WORKSPACE};

/// The page's sources.
const PAGE: &str = "wasm/www";
const BUILT: &str = "wasm/www/dist";

/// Builds the module and the page, and shows their sizes. Serves them with `--serve`.
pub(crate) fn run(mut args: Args) -> Outcome {
    let (serve, only_module) = (args.flag("--serve"), args.flag("--module"));
    args.finish()?;
    if serve && only_module {
        return Err("--serve needs the page, which --module leaves out; give only one of them".to_owned());
    }
    npm::install()?;
    module::build()?;
    if only_module {
        return Ok(());
    }
    package::assemble()?;
    build_page()?;
    if serve {
        println!("\nCtrl-C stops the server.");
        run_command(npm::tool(npm::VITE, &["preview", "--host", "127.0.0.1"]))?;
    }
    Ok(())
}

/// Installs the prerequisites of [`check`], if that needs no confirmation.
pub(crate) fn install() -> Outcome {
    npm::install()?;
    browser::find().map(|_| ())
}

/// Builds everything that a host serves, in `wasm/www/dist`. Returns an error if it is too large.
fn build_page() -> Outcome {
    compile(npm::tool(npm::VITE, &["build"]))?;
    let listing = crate::bits::print(program("node", &["wasm/www/sizes.mjs", BUILT]))?;
    sizes::judge(&listing)
}

/// Runs the step `web` of `cargo xtask test`: builds everything and runs all its tests. If some cannot run, returns the
/// reason.
pub(crate) fn check() -> Result<Option<String>, String> {
    if let Some(why) = npm::missing() {
        return Ok(Some(why));
    }
    npm::install()?;
    module::build()?;
    package::assemble()?;
    compile(npm::tool(npm::TSC, &["--noEmit"]))?;
    compile(npm::tool(npm::TSC, &["--noEmit", "-p", "tests"]))?;
    build_page()?;
    let mut tests = npm::tool(npm::PLAYWRIGHT, &["test"]);
    let chromium = browser::find();
    match &chromium {
        Ok(path) => tests.env("CHROMIUM", path),
        Err(_) => tests.arg("--project=unit"),
    };
    run_command(tests)?;
    Ok(chromium
        .err()
        .map(|why| format!("everything passed except for the tests in a browser, which cannot run; {why}")))
}

/// Runs the step `watch` of `cargo xtask test`, which tests the page of `flowrl-cli watch` in Chromium. If it cannot
/// run, returns the reason.
pub(crate) fn watched() -> Result<Option<String>, String> {
    if let Some(why) = npm::missing() {
        return Ok(Some(why));
    }
    let chromium = match browser::find() {
        Ok(path) => path,
        Err(why) => return Ok(Some(why)),
    };
    npm::install()?;
    // The same build as in the steps `test` and `stand-in`, so that nothing is left to compile after these.
    compile(cargo(&[&["build", "--lib", "--bins", "--tests"], &WORKSPACE[..]].concat()))?;
    let program = format!("target/debug/flowrl-cli{}", std::env::consts::EXE_SUFFIX);
    let program = std::path::absolute(&program).map_err(|error| format!("no path of {program}: {error}"))?;
    let mut tests = npm::tool(npm::PLAYWRIGHT, &["test", "--project=watch"]);
    tests.env("CHROMIUM", chromium).env("FLOWRL_CLI", program);
    run_command(tests).map(|()| None)
}
