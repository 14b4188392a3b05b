//! `cargo xtask web-bench`: times the race of the page in Chromium against the same race as a native program, in
//! alternation.

use std::process::Command;

use super::{browser, module, npm};
use crate::command::{cargo, output, program, run as run_command};
use crate::stats::quartiles;
use crate::{Args, Outcome, machine};

const NATIVE: &str = "target/web/examples/race";
/// Rounds of a run. In a round, each of the six policies is updated once.
const ROUNDS: &str = "3000";

/// Builds both with the same compiler options, and prints the rounds per second of each and their ratio, and then the
/// frames per second of the page.
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
    println!("six policies on 256 answers, rounds per second: median (quartiles) of {runs} runs each, alternating");
    for (name, rates, digits) in [("this machine", native, 0), (version.as_str(), wasm, 0), ("ratio", ratios, 2)] {
        let [low, median, high] = quartiles(&rates);
        println!("{name:<40} {median:.digits$} ({low:.digits$} to {high:.digits$})");
    }
    let mut page = npm::script("bench.mjs", &["page"]);
    page.env("CHROMIUM", &chromium);
    println!("the page with six lanes:\n{}", output(page).ok_or("bench.mjs page failed; run it by hand to see why")?);
    Ok(())
}

/// Runs a program that prints a number, and returns that number.
fn rate(command: Command) -> Result<f64, String> {
    let shown = format!("{command:?}");
    let printed = output(command).ok_or_else(|| format!("{shown} failed; run it by hand to see why"))?;
    printed.parse().map_err(|_| format!("{shown} printed `{printed}`, wanted a number"))
}
