//! `cargo xtask web-bench`: the race of the page in Chromium beside the same race on this machine, run by run in turn.

use std::process::Command;

use super::{browser, module, npm};
use crate::command::{cargo, output, program, run as run_command};
use crate::stats::quartiles;
use crate::{Args, Outcome, machine};

const NATIVE: &str = "target/web/examples/race";
/// Rounds of a run; a round is one update of each of the six policies.
const ROUNDS: &str = "3000";

/// Builds both with the same options of the compiler, and prints rounds a second of each and their ratio; then frames a second of the page.
pub(crate) fn run(mut args: Args) -> Outcome {
    let runs = args.value("--runs")?.unwrap_or(9);
    args.finish()?;
    npm::install()?;
    module::build()?;
    run_command(npm::tool(npm::VITE, &["build"]))?;
    let chromium = browser::find()?;
    let folder = ["--target-dir", "target"];
    run_command(cargo(
        &[&["build", "-p", "flowrl-wasm", "--example", "race", "--profile", "web"][..], &folder].concat(),
    ))?;
    machine::warn_if_busy();

    let (mut native, mut wasm) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        native.push(rate(program(NATIVE, &[ROUNDS]))?);
        let mut page = npm::script("bench.mjs", &["race", ROUNDS]);
        page.env("CHROMIUM", &chromium);
        wasm.push(rate(page)?);
    }
    let ratios: Vec<f64> = native.iter().zip(&wasm).map(|(native, wasm)| wasm / native).collect();
    let version = output(program(&chromium, &["--version"])).unwrap_or_default();
    println!("six policies on 256 answers, rounds a second: median (quartiles) of {runs} runs each, in turn");
    for (name, rates, digits) in [("this machine", native, 0), (version.as_str(), wasm, 0), ("ratio", ratios, 2)] {
        let [low, median, high] = quartiles(&rates);
        println!("{name:<40} {median:.digits$} ({low:.digits$} to {high:.digits$})");
    }
    let mut page = npm::script("bench.mjs", &["page"]);
    page.env("CHROMIUM", &chromium);
    println!("the page, six lanes drawn:\n{}", output(page).ok_or("bench.mjs page failed; run it by hand to see why")?);
    Ok(())
}

/// The number that a program prints.
fn rate(command: Command) -> Result<f64, String> {
    let shown = format!("{command:?}");
    let printed = output(command).ok_or_else(|| format!("{shown} failed; run it by hand to see why"))?;
    printed.parse().map_err(|_| format!("{shown} printed `{printed}`, wanted a number"))
}
