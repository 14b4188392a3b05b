//! `sweep`: the same run over the values of some options.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use flowrl_lm::fs::atomic_write;

use super::train;
use crate::args::ConfigArgs;
use crate::command_line::Usage;
use crate::config::Config;
use crate::run::best::Best;
use crate::run_dir::RunDir;
use crate::session::Session;
use crate::sweep::Sweep;
use crate::sweep::grid::Grid;
use crate::sweep::jobs::{self, Job};
use crate::{metrics, progress, say, signals};

/// Train once for each value of an option, or each combination of values of several, and show what they change.
///
/// `sweep --task bandit --set beta=0.5,1,2,5,10,20` writes a run directory for each value and seed, a table, and sweep.html beside
/// them. Values may be names: `sweep --objective paper,grpo --seeds 3`. Run again, it skips what is finished and goes on with what is not.
#[derive(Clone, Debug, clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Seeds for each value, counted up from --seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Runs at a time, each in a process of its own; they divide the processors among them, unless --threads says how many each has
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Directory of the sweep; without it, runs/sweep-TASK-OPTION
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command. Exit code 128 + n says that signal n stopped it.
///
/// # Errors
/// No option with several values; anything that is wrong with a run, before the first one begins; runs that failed, after the others have
/// ended.
pub fn run(args: &SweepArgs, json: bool) -> Result<ExitCode> {
    let grid = grid(args).map_err(Usage::of)?;
    let mut places = grid.places(args.seeds, args.out.as_deref())?;
    // Every mistake shows before the first run starts.
    let (all, mut begun) = (places.len(), Vec::new());
    for (place, config) in &mut places {
        match state(&place.directory, config).with_context(|| place.directory.display().to_string())? {
            State::Finished => {}
            state => begun.push((place.directory.clone(), &*config, state)),
        }
    }
    if begun.len() < all {
        progress::note(&format_args!("{} of {all} runs are finished already", all - begun.len()));
    }
    let at_once = args.jobs.min(begun.len()).max(1);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let mut jobs = Vec::new();
    for (directory, config, state) in begun {
        if let State::New = state {
            // A run that goes on from nothing but its configuration begins.
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
        progress::tell(&"the same sweep command goes on from here");
        return Ok(ExitCode::from(signal.exit_code()));
    }
    if !failures.is_empty() {
        let said = failures.iter().map(|failure| format!("\n  {}: {}", failure.directory.display(), failure.why));
        bail!(
            "{} of {} runs failed, and the same sweep command tries these again:{}",
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
    progress::note(&page.display());
    Ok(ExitCode::SUCCESS)
}

/// The settings to train with.
fn grid(args: &SweepArgs) -> Result<Grid> {
    ensure!(args.seeds > 0, "--seeds is 0, but must be at least 1");
    ensure!(args.jobs > 0, "--jobs is 0, but must be at least 1");
    Grid::of(&args.config)
}

/// How far a run is.
enum State {
    New,
    Begun,
    Finished,
}

/// Reads how far the run in a directory is; another run there is an error.
fn state(directory: &Path, config: &mut Config) -> Result<State> {
    train::check(config)?;
    let Ok(run) = RunDir::open(directory) else { return Ok(State::New) };
    let mut found = Config::load(Some(&run.config()), &[])?;
    if !config.task.kind.is_lab() {
        config.settle_as(&found);
        Session::open(config)?;
    }
    // They change no bit, and depend on how many runs there are at a time.
    found.train.threads = config.train.threads;
    ensure!(
        found.to_toml()? == config.to_toml()?,
        "this directory holds another run: its config.toml differs; choose another --out"
    );
    let records = if run.metrics().exists() { metrics::read(&run.metrics())? } else { Vec::new() };
    let last = records.last().and_then(metrics::Record::step);
    let best = Best::read(&run)?;
    let is_done = |step| step >= config.train.steps || best.is_some_and(|best| best.stops_at(step));
    Ok(if last.is_some_and(is_done) && run.report().exists() { State::Finished } else { State::Begun })
}
