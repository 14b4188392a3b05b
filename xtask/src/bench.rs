//! `cargo xtask bench`, `lab-bench`, `large` and `frontier`: build a program that measures, and pass the options on.

use crate::args::Args;
use crate::command::{Outcome, cargo, compile, program, run as run_command};
use crate::python::{Environment, TORCH};

pub(crate) fn run(mut args: Args) -> Outcome {
    match args.flag("--peers") {
        true => compare("peers", &TORCH, args),
        false => bench(&["alone"], args),
    }
}

pub(crate) fn frontier(args: Args) -> Outcome {
    compile(cargo(&["build", "--release", "-p", "flowrl-cli", "--bins", "--example", "frontier"]))?;
    run_command(program("target/release/examples/frontier", &[]).args(args.rest()))
}

/// Runs a comparison with the given interpreter, or with that of the environment.
pub(crate) fn compare(name: &str, environment: &Environment, mut args: Args) -> Outcome {
    let python = environment.interpreter(args.value("--python")?)?;
    bench(&[name, "--python", &python], args)
}

/// Builds the program, and runs it with these words and the arguments.
pub(crate) fn bench(words: &[&str], args: Args) -> Outcome {
    run_command(cargo(&["build", "--release", "-p", "flowrl-benches", "--bin", "bench"]))?;
    run_command(program("target/release/bench", words).args(args.rest()))
}
