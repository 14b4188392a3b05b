//! The directory of one run.
//!
//! | file | holds |
//! |---|---|
//! | `config.toml` | the resolved configuration, which replays the run |
//! | `run.json` | the program, machine, model and data of each start and resumption, see [`provenance`] |
//! | `metrics.jsonl` | one record per step, see [`crate::metrics`] |
//! | `rollouts.jsonl` | sampled completions with their rewards |
//! | `checkpoints/step-000100/` | weights, trainer state and checksums; complete if and only if it has this name |
//! | `distribution.json` | in the lab: the learned distribution and the target, for the report |
//! | `report.html` | see [`crate::report`] |
//! | `tensorboard/`, `tracker-wandb.log`, … | files of trackers, see [`crate::trackers`] |
//!
//! A writer holds a lock on `.lock` for as long as it lives; the operating system releases it when the process dies. A
//! process that takes the lock deletes files that killed processes left half written.

pub(crate) mod best;
mod checkpoints;
pub mod provenance;

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flowrl_lm::jsonl::damaged_lines;

use crate::warn;
pub use checkpoints::sha256;
pub(crate) use checkpoints::{name_of, remove_dir_if_there, set_aside, verify};

/// A run directory, locked if it was opened for writing.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    _lock: Option<File>,
}

impl RunDir {
    /// Starts a new run in `root`, which is created if need be, and locks it.
    pub fn create(root: &Path) -> Result<Self> {
        Self::refuse_occupied(root)?;
        fs::create_dir_all(root).with_context(|| format!("cannot create the run directory {}", root.display()))?;
        let lock = lock(root)?;
        Self::refuse_occupied(root)?;
        let run = Self { root: root.to_owned(), _lock: Some(lock) };
        run.clear_litter()?;
        Ok(run)
    }

    /// Checks that a new run can begin in `root`, as [`create`](Self::create) does.
    pub fn refuse_occupied(root: &Path) -> Result<()> {
        if !root.exists() {
            return Ok(());
        }
        if is_run(root) {
            bail!("{} already holds a run: resume it, or choose another directory", root.display());
        }
        let mut entries =
            fs::read_dir(root).with_context(|| format!("{} cannot be a run directory", root.display()))?;
        if entries.any(|entry| entry.map_or(true, |entry| !is_leftover(&entry.file_name()))) {
            bail!("{} is not empty and holds no run: choose another directory", root.display());
        }
        Ok(())
    }

    /// Continues the run in `root` and locks it.
    pub fn resume(root: &Path) -> Result<Self> {
        let run = Self::open(root)?;
        let run = Self { _lock: Some(lock(root)?), ..run };
        run.clear_litter()?;
        Ok(run)
    }

    /// Opens the run in `root` for reading, without a lock.
    pub fn open(root: &Path) -> Result<Self> {
        if !is_run(root) {
            bail!("{} is not a run directory: it has neither config.toml nor metrics.jsonl", root.display());
        }
        Ok(Self { root: root.to_owned(), _lock: None })
    }

    /// Returns the first free path of `parent/<task>-<objective>-seed<seed>`, `…-2`, `…-3`, ….
    ///
    /// ```
    /// let path = flowrl_cli::run_dir::RunDir::default_path("runs".as_ref(), "countdown", "paper", 7);
    /// assert!(path.ends_with("countdown-paper-seed7"));
    /// ```
    pub fn default_path(parent: &Path, task: &str, objective: &str, seed: u64) -> PathBuf {
        first_free(&parent.join(format!("{task}-{objective}-seed{seed}")), "")
    }

    /// Returns whether a process is writing to the directory now.
    pub fn is_locked(&self) -> Result<bool> {
        let path = self.root.join(".lock");
        let failed = || format!("cannot open the lock file {}", path.display());
        if !path.exists() {
            return Ok(false);
        }
        let file = File::open(&path).with_context(failed)?;
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error).with_context(failed),
        }
    }

    /// Returns the path of the directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }
}

/// Defines a method for the path of each file.
macro_rules! files {
    ($($name:ident = $file:literal;)*) => {
        impl RunDir {$(
            #[doc = concat!("Returns the path of `", $file, "`.")]
            pub fn $name(&self) -> PathBuf {
                self.root.join($file)
            }
        )*}
    };
}

files! {
    config = "config.toml";
    provenance = "run.json";
    metrics = "metrics.jsonl";
    rollouts = "rollouts.jsonl";
    distribution = "distribution.json";
    report = "report.html";
}

/// Returns the first path of `START` `END`, `START-2` `END`, `START-3` `END`, … that does not exist.
pub(crate) fn first_free(start: &Path, end: &str) -> PathBuf {
    let path = |number: String| {
        let mut path = start.as_os_str().to_owned();
        path.push(number + end);
        PathBuf::from(path)
    };
    let mut paths = std::iter::once(String::new()).chain((2_u64..).map(|n| format!("-{n}"))).map(path);
    paths.find(|path| !path.exists()).expect("some number is free")
}

/// Warns, once, of damaged lines in `rollouts.jsonl`. The lines are kept, because the user may be able to repair the
/// file.
pub(crate) fn warn_of_damage(rollouts: &Path) -> Result<()> {
    const SHOWN: usize = 10;
    let damaged = damaged_lines(rollouts)?;
    if !damaged.is_empty() {
        let numbers: Vec<_> = damaged.iter().take(SHOWN).map(usize::to_string).collect();
        let more = damaged.len().saturating_sub(SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        warn!("{} has damaged lines, which are kept and not shown: {}{more}", rollouts.display(), numbers.join(", "));
    }
    Ok(())
}

fn is_run(root: &Path) -> bool {
    root.join("config.toml").is_file() || root.join("metrics.jsonl").is_file()
}

/// Returns whether a run that was killed in its first moments may have left a file of this name.
fn is_leftover(name: &std::ffi::OsStr) -> bool {
    name == ".lock" || Path::new(name).extension().is_some_and(|extension| extension == "tmp")
}

fn lock(root: &Path) -> Result<File> {
    let path = root.join(".lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open the lock file {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!("another process is writing to {}: wait for it, or choose another directory", root.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowrl_lm::fs::atomic_write;

    pub(super) fn fresh() -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("runs/a")).unwrap();
        (dir, run)
    }

    #[test]
    fn a_second_writer_is_refused_until_the_first_is_gone() {
        let (_dir, run) = fresh();
        atomic_write(&run.config(), b"seed = 1\n").unwrap();
        let root = run.root().to_owned();
        let error = RunDir::resume(&root).unwrap_err().to_string();
        assert!(error.contains("another process is writing"), "{error}");
        RunDir::open(&root).expect("reading needs no lock");
        drop(run);
        RunDir::resume(&root).unwrap();
    }

    #[test]
    fn what_is_there_is_never_overwritten() {
        let (dir, run) = fresh();
        atomic_write(&run.metrics(), b"").unwrap();
        let root = run.root().to_owned();
        drop(run);
        assert!(RunDir::create(&root).unwrap_err().to_string().contains("already holds a run"));
        let error = RunDir::create(dir.path()).unwrap_err().to_string();
        assert!(error.contains("not empty and holds no run"), "{error}");
        assert!(!dir.path().join(".lock").exists(), "a refused directory is left alone");
        assert!(RunDir::resume(dir.path()).unwrap_err().to_string().contains("not a run directory"));
        assert!(RunDir::create(&root.join("metrics.jsonl")).is_err(), "a file is no directory");
    }

    #[test]
    fn an_unstarted_run_may_be_created_again() {
        let (_dir, run) = fresh();
        let root = run.root().to_owned();
        drop(run);
        RunDir::create(&root).unwrap();
    }

    #[test]
    fn names_count_up() {
        let dir = tempfile::tempdir().unwrap();
        let next = || RunDir::default_path(dir.path(), "countdown", "paper", 3);
        for name in ["countdown-paper-seed3", "countdown-paper-seed3-2", "countdown-paper-seed3-3"] {
            assert_eq!(next(), dir.path().join(name));
            fs::create_dir(next()).unwrap();
        }
    }
}
