//! Executes the runs of a sweep as separate processes, several at a time.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::metrics::{self, headlines};
use crate::run_dir::RunDir;
use crate::run_dir::best::Best;
use crate::{note, progress, signals, tell};

/// Polling interval for the end of a run.
const LOOK: Duration = Duration::from_millis(20);

/// A run to start or to resume: its directory holds at least the configuration.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) directory: PathBuf,
    pub(crate) threads: usize,
    pub(crate) steps: u64,
}

/// A failed run with the reason.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) directory: PathBuf,
    pub(crate) why: String,
}

struct Running<'a> {
    job: &'a Job,
    since: Instant,
    child: Child,
    /// Forwards the run's messages, and returns its last error.
    listener: Option<JoinHandle<Option<String>>>,
}

/// Trains every run with `program`, at most `at_once` at a time, until all have ended, and returns the failed ones.
///
/// No further run starts after a signal or once `may_begin` returns `false`. `ended` is called for each run that
/// succeeds, with its duration. A failed run does not stop the others.
pub(crate) fn run(
    program: &Path,
    jobs: &[Job],
    at_once: usize,
    may_begin: impl Fn() -> bool,
    mut ended: impl FnMut(&Job, Duration) -> Result<()>,
) -> Result<Vec<Failure>> {
    let (mut waiting, mut running, mut failures) = (jobs.iter().enumerate(), Vec::new(), Vec::new());
    loop {
        let is_open = || signals::stop().is_none() && may_begin();
        while running.len() < at_once
            && is_open()
            && let Some((i, job)) = waiting.next()
        {
            note!("{}: run {} of {} begins", job.directory.display(), i + 1, jobs.len());
            running.extend(begin(program, job, at_once > 1)?);
        }
        let mut left = Vec::new();
        for mut run in running {
            match signals::ended(&mut run.child)? {
                Some(status) if status.success() => {
                    let (job, took) = (run.job, run.since.elapsed());
                    end(run)?;
                    ended(job, took)?;
                }
                Some(status) => {
                    let said = run.listener.and_then(|listener| listener.join().ok().flatten());
                    let why = said.unwrap_or_else(|| format!("{status}; see its output above"));
                    failures.push(Failure { directory: run.job.directory.clone(), why });
                }
                None => left.push(run),
            }
        }
        running = left;
        if running.is_empty() && (waiting.len() == 0 || !is_open()) {
            return Ok(failures);
        }
        std::thread::sleep(LOOK);
    }
}

/// Starts a run, unless a signal has arrived. One of several runs prints only warnings and errors, each line prefixed
/// with its directory.
fn begin<'a>(program: &Path, job: &'a Job, is_one_of_several: bool) -> Result<Option<Running<'a>>> {
    let mut command = Command::new(program);
    command.arg("train").arg("--out").arg(&job.directory).args(["--resume", "--threads", &job.threads.to_string()]);
    if is_one_of_several || progress::is_quiet() {
        command.arg("--quiet");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    if is_one_of_several {
        command.stderr(Stdio::piped());
    }
    let child = signals::spawn(&mut command).with_context(|| format!("cannot start {}", program.display()))?;
    Ok(child.map(|mut child| {
        let name = job.directory.display().to_string();
        let listener = child.stderr.take().map(|said| {
            std::thread::spawn(move || {
                let lines = BufReader::new(said).lines().map_while(Result::ok).filter(|line| !line.is_empty());
                lines.fold(None, |last, line| {
                    tell!("{name}: {line}");
                    line.strip_prefix("error: ").map(str::to_owned).or(last)
                })
            })
        });
        Running { job, since: Instant::now(), child, listener }
    }))
}

/// Prints a line with the result of a run.
fn end(run: Running<'_>) -> Result<()> {
    if let Some(listener) = run.listener {
        let _ = listener.join();
    }
    let directory = RunDir::open(&run.job.directory)?;
    let records = metrics::read(&directory.metrics())?;
    let Some(last) = records.last() else { return Ok(()) };
    let step = last.step().unwrap_or(0);
    let stopped = Best::read(&directory)?.and_then(|best| best.why_stopped(step, run.job.steps));
    let parts: Vec<String> = headlines(last).into_iter().chain(stopped).collect();
    let said = if parts.is_empty() { format!("{step} steps") } else { parts.join("; ") };
    note!("{}: {said}", run.job.directory.display());
    Ok(())
}
