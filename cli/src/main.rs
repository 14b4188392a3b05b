//! Command line of flowrl.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use flowrl_cli::commands;

#[derive(Parser)]
#[command(name = "flowrl-cli", version, about, propagate_version = true)]
struct Cli {
    /// Results as JSON on standard output
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Pretrain(commands::pretrain::PretrainArgs),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Command::Pretrain(args) => commands::pretrain::run(args, cli.json),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
