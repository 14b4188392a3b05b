//! The command line itself: parse, call, print.

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::commands::{compare, doctor, eval, export, loss, pretrain, report, sample, score, sweep, train, watch};
use crate::{progress, say};

/// Train a language model to match a reward distribution instead of collapsing onto one answer (FlowRL).
#[derive(Parser)]
#[command(name = "flowrl-cli", version, propagate_version = true)]
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
    /// Say whether a GPU can train here, and what is missing; the exit status is 0 or 1
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
        progress::tell(&format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}
