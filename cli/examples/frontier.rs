//! Measures and draws the frontier: `cargo xtask frontier`, which builds the program first.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use flowrl_cli::frontier::Frontier;
use flowrl_cli::frontier::measure::{Options, measure};
use flowrl_cli::{progress, signals};

const RESULTS: &str = "cli/frontier/results.jsonl";

/// Make the missing measurements of the frontier, or draw those that exist
#[derive(Parser)]
struct Args {
    /// Write docs/frontier.svg, docs/frontier.md and the README's table instead of measuring
    #[arg(long)]
    draw: bool,
    /// Start no run that would probably end after this many minutes [default: no limit]
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Number of parallel runs [default: one per processor]
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// Measure only this method; may be repeated
    #[arg(long = "method", value_name = "NAME")]
    methods: Vec<String>,
    /// Make at most this many runs
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
}

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::tell(&format_args!("error: {error:#}"));
            ExitCode::from(signals::stop().map_or(1, signals::Signal::exit_code))
        }
    }
}

fn run(args: Args) -> Result<()> {
    if args.draw {
        let text = std::fs::read_to_string(RESULTS).with_context(|| format!("cannot read {RESULTS}"))?;
        for (path, text) in Frontier::parse(&text).context(RESULTS)?.documents("".as_ref())? {
            std::fs::write(&path, text)?;
            progress::note(&path.display());
        }
        return Ok(());
    }
    signals::watch();
    let minutes = |minutes: f64| Ok::<_, anyhow::Error>(Duration::try_from_secs_f64(60.0 * minutes)?);
    let options = Options {
        program: PathBuf::from("target/release/flowrl-cli"),
        results: RESULTS.into(),
        folder: "target/frontier".into(),
        at_once: args.jobs.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)).max(1),
        limit: args.minutes.map(minutes).transpose()?,
        methods: args.methods,
        most: args.runs,
    };
    match measure(&options)? {
        0 => progress::note(&"nothing is left to measure: `cargo xtask frontier --draw` draws the results"),
        left => progress::note(&format_args!("{left} runs are left: the same command continues")),
    }
    Ok(())
}
