//! The command line: parses the arguments, calls the command and prints its error.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::args::Usage;
use crate::commands::{
    compare, doctor, eval, export, judge, loss, pretrain, report, sample, score, sweep, train, watch,
};
use crate::verifiers::SANDBOX;
use crate::{progress, say, tell};

/// Version, commit (if known), target and features.
const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    env!("FLOWRL_COMMIT_SHOWN"),
    "\ntarget: ",
    env!("FLOWRL_TARGET"),
    "\nfeatures: ",
    env!("FLOWRL_FEATURES")
);

/// Train a language model to match a reward distribution instead of collapsing onto one answer (FlowRL).
#[derive(Parser)]
#[command(name = "flowrl-cli", version, long_version = LONG_VERSION, propagate_version = true)]
struct Cli {
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// Print only warnings and errors on standard error, no progress and no notes
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Eval(eval::EvalArgs),
    Sample(sample::SampleArgs),
    Score(score::ScoreArgs),
    Judge(judge::JudgeArgs),
    Loss(loss::LossArgs),
    Report(report::ReportArgs),
    Watch(watch::WatchArgs),
    Export(export::ExportArgs),
    Compare(compare::CompareArgs),
    Sweep(sweep::SweepArgs),
    Pretrain(pretrain::PretrainArgs),
    /// Report whether the CPU and a GPU can train here, and what a GPU lacks; exit with 0 if a GPU can train, else 1
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// Shell to complete commands in
        shell: clap_complete::Shell,
    },
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Train(args) => return train::run(args, cli.json),
        Command::Eval(args) => eval::run(args, cli.json)?,
        Command::Sample(args) => sample::run(args, cli.json)?,
        Command::Score(args) => score::run(args)?,
        Command::Judge(args) => return judge::run(args, cli.json),
        Command::Loss(args) => loss::run(args)?,
        Command::Sweep(args) => return sweep::run(args, cli.json),
        Command::Watch(args) => watch::run(args, cli.json)?,
        Command::Report(args) => report::run(args, cli.json)?,
        Command::Export(args) => export::run(args, cli.json)?,
        Command::Compare(args) => compare::run(args, cli.json)?,
        Command::Pretrain(args) => pretrain::run(args, cli.json)?,
        Command::Doctor => return doctor::run(cli.json),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command(), "flowrl-cli", &mut script);
            say!("{}", String::from_utf8(script)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the definition of the command line, for a manual page or a completion script.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Parses the command line, runs the command and returns the exit code.
pub fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == SANDBOX) {
        flowrl_verify::code::sandbox::enter();
    }
    let cli = Cli::parse();
    if cli.quiet {
        progress::be_quiet();
    }
    run(&cli).unwrap_or_else(|error| {
        // Some errors from dependencies end with a line break.
        tell!("error: {}", format!("{error:#}").trim_end());
        if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}
