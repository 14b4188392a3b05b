//! `sweep`: trains once for each value of some options.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use flowrl_lm::fs::atomic_write;

use super::train;
use crate::args::{ConfigArgs, Usage};
use crate::config::Config;
use crate::run_dir::RunDir;
use crate::run_dir::best::Best;
use crate::session::Session;
use crate::sweep::Sweep;
use crate::sweep::grid::Grid;
use crate::sweep::jobs::{self, Job};
use crate::{metrics, note, say, signals, tell};

/// Train once for each value of an option, or each combination of values of several, and compare the results.
///
/// `sweep --task bandit --set beta=0.5,1,2,5,10,20` writes a run directory for each value and seed, prints a table, and
/// writes sweep.html. Values may be names: `sweep --objective paper,grpo --seeds 3`. The same command again skips
/// finished runs and continues the others.
#[derive(Clone, Debug, clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Number of seeds for each value, counting up from --seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Number of parallel runs, each in its own process; they share the processors equally unless --threads is given
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Directory of the sweep (default: runs/sweep-TASK-OPTION)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command. Returns exit code 128 + n if signal n stopped it.
///
/// # Errors
/// Returns an error if no option has several values, if any run is configured wrongly (before the first one begins), or
/// if runs failed (after the others have ended).
pub fn run(args: &SweepArgs, json: bool) -> Result<ExitCode> {
    let grid = grid(args).map_err(Usage::of)?;
    let mut places = grid.places(args.seeds, args.out.as_deref())?;
    // Find every mistake before the first run starts.
    let (all, mut begun) = (places.len(), Vec::new());
    for (place, config) in &mut places {
        match state(&place.directory, config).with_context(|| place.directory.display().to_string())? {
            State::Finished => {}
            state => begun.push((place.directory.clone(), &*config, state)),
        }
    }
    if begun.len() < all {
        note!("{} of {all} runs are finished already", all - begun.len());
    }
    let at_once = args.jobs.min(begun.len()).max(1);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut jobs = Vec::new();
    for (directory, config, state) in begun {
        if let State::New = state {
            // Resuming from a configuration alone starts the run from the beginning.
            atomic_write(&RunDir::create(&directory)?.config(), config.to_toml()?.as_bytes())?;
        }
        let shared = if at_once > 1 { (processors / at_once).max(1) } else { 0 };
        let threads = if config.train.threads > 0 { config.train.threads } else { shared };
        jobs.push(Job { directory, threads, steps: config.train.steps });
    }
    signals::watch();
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    let failures = jobs::run(&program, &jobs, at_once, || true, |_, _| Ok(()))?;
    if let Some(signal) = signals::stop() {
        tell!("run the same sweep command again to continue");
        return Ok(ExitCode::from(signal.exit_code()));
    }
    if !failures.is_empty() {
        let said = failures.iter().map(|failure| format!("\n  {}: {}", failure.directory.display(), failure.why));
        bail!(
            "{} of {} runs failed; the same sweep command tries them again:{}",
            failures.len(),
            places.len(),
            said.collect::<String>()
        );
    }
    let config = places[0].1.clone();
    let out = places[0].0.directory.parent().unwrap_or(Path::new("")).to_owned();
    let sweep = Sweep::read(grid.keys(), config, places.into_iter().map(|(place, _)| place).collect())?;
    let page = out.join("sweep.html");
    sweep.write_html(&page)?;
    if json {
        say!("{}", sweep.to_json());
    } else {
        say!("{}", sweep.to_markdown());
    }
    note!("{}", page.display());
    Ok(ExitCode::SUCCESS)
}

/// Returns the grid of settings to train with.
fn grid(args: &SweepArgs) -> Result<Grid> {
    ensure!(args.seeds > 0, "--seeds is 0, but must be at least 1");
    ensure!(args.jobs > 0, "--jobs is 0, but must be at least 1");
    Grid::of(&args.config)
}

/// The progress of a run.
enum State {
    New,
    Begun,
    Finished,
}

/// Reads the progress of the run in a directory. Returns an error if the directory holds another run.
fn state(directory: &Path, config: &mut Config) -> Result<State> {
    train::check(config)?;
    let Ok(run) = RunDir::open(directory) else { return Ok(State::New) };
    let mut found = Config::load(Some(&run.config()), &[])?;
    if !config.task.kind.is_lab() {
        config.settle_as(&found);
        Session::open(config)?;
    }
    // The result does not depend on the threads, which vary with the number of parallel runs.
    found.train.threads = config.train.threads;
    ensure!(
        found.to_toml()? == config.to_toml()?,
        "this directory holds another run: its config.toml differs; choose another --out"
    );
    let records = metrics::read_if_there(&run.metrics())?;
    let last = records.last().and_then(metrics::Record::step);
    let best = Best::read(&run)?;
    let is_done = |step| step >= config.train.steps || best.is_some_and(|best| best.stops_at(step));
    Ok(if last.is_some_and(is_done) && run.report().exists() { State::Finished } else { State::Begun })
}
