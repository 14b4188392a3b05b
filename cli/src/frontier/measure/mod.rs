//! Executes the runs that have not been measured yet.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use flowrl_lm::fs::atomic_write;
use toml::{Table, Value};

use super::methods::{CHOOSING, LONG, METHODS, Method, REPORTED, SHOWN, STEPS};
use super::{Frontier, Measured, Point, grid};
use crate::config::{Config, flatten};
use crate::input::text_if_there;
use crate::metrics::{self, Record};
use crate::run_dir::{RunDir, remove_dir_if_there};
use crate::sweep::jobs::{self, Job};
use crate::{note, signals};

/// Options of [`measure`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Path of the program `flowrl-cli`.
    pub program: PathBuf,
    /// File with the measurements, to which runs are added as they end.
    pub results: PathBuf,
    /// Folder for the run directories, each of which is removed once its metrics have been read.
    pub folder: PathBuf,
    /// Number of parallel runs, with one thread each.
    pub at_once: usize,
    /// Time limit: no run starts that would probably end later.
    pub limit: Option<Duration>,
    /// Names of the methods to measure, or all if empty.
    pub methods: Vec<String>,
    /// Largest number of runs to make.
    pub most: Option<usize>,
}

/// A run to be made.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    method: &'static Method,
    value: f64,
    seed: u64,
    steps: u64,
}

impl Wanted {
    fn config(&self) -> Result<Config> {
        self.method.config(self.value, self.seed, self.steps)
    }

    fn directory(&self, folder: &Path) -> PathBuf {
        let Self { method, value, seed, steps } = self;
        folder.join(format!("{},{value}-seed{seed}-{steps}", method.name.replace(", ", "-")))
    }
}

/// Makes the missing runs, and returns how many are still missing.
///
/// # Errors
/// Returns an error if the results were made with other settings, if a run fails, or if a signal stops the measurement.
/// The results of runs that ended before are kept.
pub fn measure(options: &Options) -> Result<usize> {
    for name in &options.methods {
        let names = || METHODS.iter().map(|method| method.name).collect::<Vec<_>>().join("; ");
        ensure!(Method::named(name).is_some(), "unknown method `{name}`: expected one of {}", names());
    }
    let text = text_if_there(&options.results)?.unwrap_or_default();
    let mut frontier = Frontier::parse(&text).with_context(|| options.results.display().to_string())?;
    check_common(&mut frontier, options)?;
    let is_asked =
        |run: &Wanted| options.methods.is_empty() || options.methods.iter().any(|name| name == run.method.name);
    let clock = Clock { start: Instant::now(), longest: Cell::default(), limit: options.limit };
    let mut begun = 0;
    // The second stage needs the values chosen from the results of the first.
    for stage in [choosing, reporting] {
        let mut missing = missing(&frontier, stage(&frontier))?;
        missing.retain(is_asked);
        missing.truncate(options.most.map_or(usize::MAX, |most| most.saturating_sub(begun)));
        begun += missing.len();
        if !missing.is_empty() {
            run_all(&mut frontier, &missing, options, &clock)?;
        }
    }
    let mut left = missing(&frontier, choosing(&frontier))?;
    left.extend(missing(&frontier, reporting(&frontier))?);
    left.retain(is_asked);
    Ok(left.len())
}

/// Decides whether another run may start, by the longest run so far.
struct Clock {
    start: Instant,
    longest: Cell<Duration>,
    limit: Option<Duration>,
}

impl Clock {
    fn may_begin(&self) -> bool {
        self.limit.is_none_or(|limit| self.start.elapsed() + self.longest.get() <= limit)
    }
}

/// Returns the runs of the first stage: every value with the seeds used to choose one.
fn choosing(_: &Frontier) -> Vec<Wanted> {
    let of_seed = |&seed| grid().map(move |(method, value)| Wanted { method, value, seed, steps: STEPS });
    CHOOSING.iter().flat_map(of_seed).collect()
}

/// Returns the runs of the second stage: the defaults and the values chosen so far with the reported seeds, then once
/// for longer.
fn reporting(frontier: &Frontier) -> Vec<Wanted> {
    let reported: Vec<_> = frontier.all_reported().collect();
    let of_seed = |&(method, value)| REPORTED.iter().map(move |&seed| Wanted { method, value, seed, steps: STEPS });
    let long = reported.iter().map(|&(method, value)| Wanted { method, value, seed: CHOOSING[0], steps: LONG });
    reported.iter().flat_map(of_seed).chain(long).collect()
}

/// Returns the wanted runs that have not been measured, or were measured with other options.
fn missing(frontier: &Frontier, wanted: Vec<Wanted>) -> Result<Vec<Wanted>> {
    let mut missing = Vec::new();
    for run in wanted {
        match frontier.find(run.method, run.value, run.seed, run.steps) {
            Some(found) if differences(&found.options, &objective_of(&run.config()?)?).is_empty() => {}
            _ => missing.push(run),
        }
    }
    Ok(missing)
}

fn run_all(frontier: &mut Frontier, missing: &[Wanted], options: &Options, clock: &Clock) -> Result<()> {
    for run in missing.iter().filter(|run| frontier.find(run.method, run.value, run.seed, run.steps).is_some()) {
        note!("{}: its options have changed; measuring it again", run.directory("".as_ref()).display());
    }
    let mut jobs = Vec::new();
    for run in missing {
        let directory = run.directory(&options.folder);
        prepare(&directory, &run.config()?)?;
        jobs.push(Job { directory, threads: 1, steps: run.steps });
    }
    let ended = |job: &Job, took: Duration| {
        clock.longest.set(clock.longest.get().max(took));
        let Some(run) = missing.iter().find(|run| run.directory(&options.folder) == job.directory) else {
            return Ok(());
        };
        frontier.insert(collect(run, &job.directory)?);
        frontier.write(&options.results)?;
        remove(&job.directory)
    };
    let failures = jobs::run(&options.program, &jobs, options.at_once, || clock.may_begin(), ended)?;
    if let Some(signal) = signals::stop() {
        bail!("stopped by {signal}; the same command continues from here");
    }
    if let Some(failure) = failures.first() {
        bail!(
            "{} of {} runs failed; the first is {}: {}",
            failures.len(),
            jobs.len(),
            failure.directory.display(),
            failure.why
        );
    }
    Ok(())
}

/// Makes a run directory that holds only its configuration. If a run with the same configuration has begun there, the
/// directory stays as it is, and the run will be resumed.
fn prepare(directory: &Path, config: &Config) -> Result<()> {
    let text = config.to_toml()?;
    if std::fs::read_to_string(directory.join("config.toml")).is_ok_and(|found| found == text) {
        return Ok(());
    }
    remove(directory)?;
    Ok(atomic_write(&RunDir::create(directory)?.config(), text.as_bytes())?)
}

fn remove(directory: &Path) -> Result<()> {
    remove_dir_if_there(directory).with_context(|| format!("cannot remove {}", directory.display()))
}

/// Reads the measures of a finished run.
fn collect(run: &Wanted, directory: &Path) -> Result<Measured> {
    let records = metrics::read(&RunDir::open(directory)?.metrics())?;
    let shown = |record: &&Record| record.step().is_some_and(|step| is_shown(step, run.steps));
    let number = |record: &Record, name: &str| {
        // Six decimals, a few more than any table shows.
        let rounded = |x: f64| (x * 1e6).round() / 1e6;
        record.number(name).map(rounded)
    };
    let point = |record: &Record| -> Result<Point> {
        let step = record.step().unwrap_or(0);
        let exact = |name: &str| {
            let missing = || format!("{}: no {name} at step {step}", directory.display());
            number(record, name).filter(|x| x.is_finite()).with_context(missing)
        };
        Ok(Point {
            step,
            success: exact("eval_success_exact")?,
            lost: exact("eval_kl_on_correct")?,
            kl_ref: number(record, "kl_ref"),
            pass_at_8: exact("eval_pass_at_8")?,
            distinct: exact("eval_distinct_correct")?,
        })
    };
    let at: Vec<Point> = records.iter().filter(shown).map(point).collect::<Result<_>>()?;
    let last = records.last().context("a run without records")?;
    ensure!(last.step() == Some(run.steps), "{} has not reached step {}", directory.display(), run.steps);
    Ok(Measured {
        method: run.method.name.into(),
        value: run.value,
        seed: run.seed,
        steps: run.steps,
        options: objective_of(&run.config()?)?,
        version: env!("CARGO_PKG_VERSION").into(),
        cpu_s: last.number("cpu_s").map_or(0.0, |s| (s * 10.0).round() / 10.0),
        at,
    })
}

fn is_shown(step: u64, steps: u64) -> bool {
    step == 0 || step == steps || (steps == STEPS && SHOWN.contains(&step))
}

/// Returns the resolved options of a run's objective, without its name: the options determine the objective.
fn objective_of(config: &Config) -> Result<String> {
    let table: Table = config.to_toml()?.parse()?;
    let objective = table.get("objective").and_then(Value::as_table).context("a configuration without an objective")?;
    Ok(flat(objective, |key| !matches!(key, "kind" | "preset")))
}

/// Returns the settings that a result depends on, except for the objective, the number of steps and the seed.
pub(super) fn common_of(config: &Config) -> Result<String> {
    let table: Table = config.to_toml()?.parse()?;
    let sections = ["task", "train", "sampling", "optimizer", "log_z", "eval"];
    let own = ["train.steps", "train.seed", "train.threads", "eval.every"];
    let section = |name: &str| Some((name.to_owned(), table.get(name)?.clone()));
    let kept: Table = sections.into_iter().filter_map(section).collect();
    Ok(flat(&kept, |key| !own.contains(&key)))
}

/// Formats every key that is kept as `key=value`, or `section.key=value` in a section, separated by spaces.
pub(super) fn flat(table: &Table, keep: impl Fn(&str) -> bool) -> String {
    let kept = flatten("", table).into_iter().filter(|(key, _)| keep(key));
    kept.map(|(key, value)| format!("{key}={}", value.replace([' ', '"'], ""))).collect::<Vec<_>>().join(" ")
}

/// Returns the former settings that the present ones no longer contain. A new option does not count, because its
/// default changes no result.
fn differences(before: &str, now: &str) -> Vec<String> {
    before.split(' ').filter(|pair| now.split(' ').all(|other| other != *pair)).map(str::to_owned).collect()
}

/// Returns an error if the results were made with other settings. If there are no results, records the present
/// settings.
fn check_common(frontier: &mut Frontier, options: &Options) -> Result<()> {
    let now = common_of(&METHODS[0].config(METHODS[0].default, 0, STEPS)?)?;
    if frontier.runs.is_empty() {
        frontier.settings = now;
        return Ok(());
    }
    let changed = differences(&frontier.settings, &now);
    ensure!(
        changed.is_empty(),
        "the runs in {} were made with {}, which no longer applies: remove the file to measure all of them again",
        options.results.display(),
        changed.join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests;
