//! `cargo xtask web`: builds the browser lab, from Rust to a folder of static files.

pub(crate) mod bench;
mod module;
mod npm;
mod sizes;

use crate::args::Args;
use crate::command::{Check, Outcome, Unpassed, cargo_workspace, compile, printed, program, run as run_command};
use crate::{files, install};

const BUILT: &str = "wasm/www/dist";

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
    module::assemble_package()?;
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
    install::browser().map(|_| ())
}

/// Builds everything that a host serves, in `wasm/www/dist`. Returns an error if it is too large.
fn build_page() -> Outcome {
    compile(npm::tool(npm::VITE, &["build"]))?;
    sizes::judge(&printed(program("node", &["wasm/www/sizes.mjs", BUILT]))?)
}

/// Runs the step `web` of `cargo xtask test`: builds everything and runs all its tests.
pub(crate) fn check() -> Check {
    npm::install()?;
    module::build()?;
    module::assemble_package()?;
    compile(npm::tool(npm::TSC, &["--noEmit"]))?;
    compile(npm::tool(npm::TSC, &["--noEmit", "-p", "tests"]))?;
    build_page()?;
    let mut tests = npm::tool(npm::PLAYWRIGHT, &["test"]);
    match install::browser() {
        Ok(path) => Ok(run_command(tests.env("CHROMIUM", path))?),
        Err(why) => {
            run_command(tests.arg("--project=unit"))?;
            let passed = "everything passed except for the tests in a browser, which cannot run";
            Err(Unpassed::Skipped(format!("{passed}; {why}")))
        }
    }
}

/// Runs the step `watch` of `cargo xtask test`, which tests the page of `flowrl-cli watch` in Chromium.
pub(crate) fn watched() -> Check {
    npm::install()?;
    let chromium = install::browser().map_err(Unpassed::Skipped)?;
    // The same build as in the steps `test` and `stand-in`, so that nothing is left to compile after these.
    compile(cargo_workspace("build", &["--lib", "--bins", "--tests"]))?;
    let program = files::absolute(format!("target/debug/flowrl-cli{}", std::env::consts::EXE_SUFFIX))?;
    let mut tests = npm::tool(npm::PLAYWRIGHT, &["test", "--project=watch"]);
    Ok(run_command(tests.env("CHROMIUM", chromium).env("FLOWRL_CLI", program))?)
}
