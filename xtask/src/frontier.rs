//! `cargo xtask frontier`: measures success against lost diversity for every objective over its β or KL coefficient.

use crate::command::{cargo, compile, program, run as run_command};
use crate::{Args, Outcome};

/// Builds flowrl-cli and the example that measures with it, and passes all options on to that example.
pub(crate) fn run(args: Args) -> Outcome {
    compile(cargo(&["build", "--release", "-p", "flowrl-cli", "--bins", "--example", "frontier"]))?;
    let mut command = program("target/release/examples/frontier", &[]);
    command.args(args.rest());
    run_command(command)
}
