//! Measures. `cargo xtask bench`, `lab-bench` and `large` run this program, which also serves as our side of each
//! comparison: a process of its own.

mod alone;
mod lab;
mod large;
mod peers;
mod serve;

use std::process::{Command, ExitCode};

use flowrl_benches::Failure;
use flowrl_benches::args::Args;

/// The folder of the peers' scripts.
const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/peers");

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_default();
    let args = Args::new(words);
    let outcome = match name.as_str() {
        "alone" => alone::run(args),
        "peers" => peers::run(args),
        "lab" => lab::run(args),
        "serve" => serve::case(args),
        "serve-lab" => serve::lab(args),
        "large" => large::run(args),
        "score" => large::score(args),
        _ => Err(format!("got `{name}`, wanted alone, peers, lab, serve, serve-lab, large or score").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("bench: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the command of our side of a comparison: this program with these words.
fn ourselves(words: &[&str]) -> Result<Command, Failure> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(words);
    Ok(command)
}

/// Returns the command of a peer: a script in [`SCRIPTS`] with its arguments.
fn script(python: &str, name: &str, words: &[&str]) -> Command {
    let mut command = Command::new(python);
    command.arg(format!("{SCRIPTS}/{name}")).args(words).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}
