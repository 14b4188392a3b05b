//! The command line itself: parse, call, print.

use std::fmt;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{compare, doctor, eval, export, loss, pretrain, report, sample, score, sweep, train, watch};
use crate::{progress, say};

/// Version, commit where one is known, target and features.
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
    /// Results as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    /// No progress and no notes on standard error, only warnings and errors
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
    Loss(loss::LossArgs),
    Report(report::ReportArgs),
    Watch(watch::WatchArgs),
    Export(export::ExportArgs),
    Compare(compare::CompareArgs),
    Sweep(sweep::SweepArgs),
    Pretrain(pretrain::PretrainArgs),
    /// Say what can train here, CPU and GPU, and what is missing for a GPU; the exit status is 0 if one can, else 1
    Doctor,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

fn run(cli: &Cli) -> Result<ExitCode> {
    match &cli.command {
        Command::Train(args) => return train::run(args, cli.json),
        Command::Eval(args) => eval::run(args, cli.json)?,
        Command::Sample(args) => sample::run(args, cli.json)?,
        Command::Score(args) => score::run(args)?,
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

/// Everything that can be typed, for a manual page or a completion script.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// The program: runs the command that was typed.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.quiet {
        progress::be_quiet();
    }
    run(&cli).unwrap_or_else(|error| {
        // Some errors of others end with a line break.
        progress::tell(&format_args!("error: {}", format!("{error:#}").trim_end()));
        if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
    })
}

/// A mistake in flags or in a configuration: the exit status is 2, as for those that clap finds.
#[derive(Debug)]
pub(crate) struct Usage(anyhow::Error);

impl Usage {
    pub(crate) fn of(error: anyhow::Error) -> anyhow::Error {
        Self(error).into()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}
