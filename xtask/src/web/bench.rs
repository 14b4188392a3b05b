//! `cargo xtask web-bench`: times the race of the page in Chromium against the same race as a native program, in
//! alternation.

use std::process::Command;

use super::{module, npm};
use crate::args::Args;
use crate::command::{Outcome, cargo, output, printed, program, run as run_command};
use crate::install;
use crate::paired::{alternate, quartiles, show, warn_if_busy};

const NATIVE: &str = "target/web/examples/race";
/// Rounds of a run. In a round, each of the six policies is updated once.
const ROUNDS: &str = "3000";

pub(crate) fn run(mut args: Args) -> Outcome {
    let runs = args.count("--runs", 9)?;
    args.finish()?;
    npm::install()?;
    module::build()?;
    run_command(npm::tool(npm::VITE, &["build"]))?;
    let chromium = install::browser()?;
    let race = ["build", "-p", "flowrl-wasm", "--example", "race", "--profile", "web", "--target-dir", "target"];
    run_command(cargo(&race))?;
    warn_if_busy();

    let page = |words: &[&str]| {
        let mut page = npm::script("bench.mjs", words);
        page.env("CHROMIUM", &chromium);
        page
    };
    let native = || rate(program(NATIVE, &[ROUNDS]));
    let [pairs] = alternate(0, runs, Some(native), || rate(page(&["race", ROUNDS])))?;
    let version = output(program(&chromium, &["--version"])).unwrap_or_default();
    println!("six policies on 256 answers, rounds per second: median [quartiles] of {runs} runs each, alternating");
    println!("{:<40} {}", "this machine", show(quartiles(&pairs.ours), 0));
    println!("{version:<40} {}", show(quartiles(&pairs.theirs), 0));
    println!("{:<40} {}", "ratio", pairs.ratio().map_or_else(String::new, |ratio| show(ratio, 2)));
    println!("the page with six lanes:\n{}", printed(page(&["page"]))?);
    Ok(())
}

/// Runs a program that prints a number, and returns that number.
fn rate(command: Command) -> Result<[f64; 1], String> {
    let printed = printed(command)?;
    printed.parse().map(|rate| [rate]).map_err(|_| format!("got `{printed}` from a race, wanted a number"))
}
