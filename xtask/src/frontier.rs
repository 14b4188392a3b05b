//! `cargo xtask frontier`: success against diversity lost, for every objective over its β or its KL.

use crate::command::{cargo, compile, program, run as run_command};
use crate::{Args, Outcome};

/// Builds the program and the one that measures with it, and hands over its options.
pub(crate) fn run(args: Args) -> Outcome {
    compile(cargo(&["build", "--release", "-p", "flowrl-cli", "--bins", "--example", "frontier"]))?;
    let mut command = program("target/release/examples/frontier", &[]);
    command.args(args.rest());
    run_command(command)
}
