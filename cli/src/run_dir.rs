//! The directory of one run.
//!
//! | file | holds |
//! |---|---|
//! | `config.toml` | the resolved configuration, which replays the run |
//! | `metrics.jsonl` | one record per step, see [`crate::metrics`] |
//! | `rollouts.jsonl` | sampled completions with their rewards |
//! | `checkpoints/step-000100/` | weights and trainer state; complete if and only if it bears this name |
//! | `distribution.json` | in the lab: the learned distribution beside the target, for the report |
//! | `report.html` | see [`crate::report`] |
//!
//! A writer holds a lock on `.lock` for as long as it lives; the operating system releases it when the process dies.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// A run directory, locked when opened for writing.
#[derive(Debug)]
pub struct RunDir {
    root: PathBuf,
    _lock: Option<File>,
}

impl RunDir {
    /// Starts a new run in `root`, which is created if need be, and locks it.
    ///
    /// # Errors
    /// `root` already holds a run, holds something else, is being written by another process, or cannot be created.
    pub fn create(root: &Path) -> Result<Self> {
        refuse_occupied(root)?;
        fs::create_dir_all(root).with_context(|| format!("cannot create the run directory {}", root.display()))?;
        let lock = lock(root)?;
        refuse_occupied(root)?;
        Ok(Self { root: root.to_owned(), _lock: Some(lock) })
    }

    /// Continues the run in `root` and locks it.
    ///
    /// # Errors
    /// `root` holds no run, or another process is writing to it.
    pub fn resume(root: &Path) -> Result<Self> {
        let run = Self::open(root)?;
        Ok(Self { _lock: Some(lock(root)?), ..run })
    }

    /// Opens the run in `root` for reading, without a lock.
    ///
    /// # Errors
    /// `root` holds no run.
    pub fn open(root: &Path) -> Result<Self> {
        if !is_run(root) {
            bail!("{} is not a run directory: it has neither config.toml nor metrics.jsonl", root.display());
        }
        Ok(Self { root: root.to_owned(), _lock: None })
    }

    /// The first free one of `parent/<task>-<objective>-seed<seed>`, `…-2`, `…-3`, ….
    ///
    /// ```
    /// let path = flowrl_cli::run_dir::RunDir::default_path("runs".as_ref(), "countdown", "paper", 7);
    /// assert!(path.ends_with("countdown-paper-seed7"));
    /// ```
    pub fn default_path(parent: &Path, task: &str, objective: &str, seed: u64) -> PathBuf {
        let name = format!("{task}-{objective}-seed{seed}");
        let first = parent.join(&name);
        if !first.exists() {
            return first;
        }
        let mut number = 2_u64;
        loop {
            let path = parent.join(format!("{name}-{number}"));
            if !path.exists() {
                return path;
            }
            number += 1;
        }
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `config.toml`.
    pub fn config(&self) -> PathBuf {
        self.root.join("config.toml")
    }

    /// `metrics.jsonl`.
    pub fn metrics(&self) -> PathBuf {
        self.root.join("metrics.jsonl")
    }

    /// `rollouts.jsonl`.
    pub fn rollouts(&self) -> PathBuf {
        self.root.join("rollouts.jsonl")
    }

    /// `distribution.json`.
    pub fn distribution(&self) -> PathBuf {
        self.root.join("distribution.json")
    }

    /// `report.html`.
    pub fn report(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// Complete checkpoints as `(step, directory)`, oldest first.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let folder = self.root.join("checkpoints");
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let entry = entry.with_context(|| format!("cannot list {}", folder.display()))?;
            let name = entry.file_name();
            let step = name.to_str().and_then(|name| name.strip_prefix("step-")).and_then(|step| step.parse().ok());
            if let (Some(step), true) = (step, entry.path().is_dir()) {
                found.push((step, entry.path()));
            }
        }
        found.sort();
        Ok(found)
    }

    /// The newest complete checkpoint.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>> {
        Ok(self.checkpoints()?.pop())
    }

    /// Writes the checkpoint of `step`: `write` fills a temporary directory, which is synced and renamed into place.
    /// Then all but the newest `keep` checkpoints are deleted; the newest always stays, even with `keep` 0.
    ///
    /// # Errors
    /// Those of `write`, in which case no checkpoint is touched, and those of the file system.
    pub fn write_checkpoint(&self, step: u64, keep: usize, write: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
        let folder = self.root.join("checkpoints");
        let path = folder.join(format!("step-{step:06}"));
        let (fresh, stale) = (folder.join("new.tmp"), folder.join("old.tmp"));
        let failed = || format!("cannot write the checkpoint {}", path.display());

        remove_dir_if_there(&fresh).with_context(failed)?;
        remove_dir_if_there(&stale).with_context(failed)?;
        fs::create_dir_all(&fresh).with_context(failed)?;
        write(&fresh).with_context(failed)?;
        sync_tree(&fresh).with_context(failed)?;
        if path.exists() {
            fs::rename(&path, &stale).with_context(failed)?;
        }
        fs::rename(&fresh, &path).with_context(failed)?;
        sync_dir(&folder).with_context(failed)?;
        remove_dir_if_there(&stale).with_context(failed)?;

        let mut complete = self.checkpoints()?;
        complete.truncate(complete.len().saturating_sub(keep.max(1)));
        for (_, old) in complete.iter().filter(|(_, old)| *old != path) {
            fs::remove_dir_all(old).with_context(|| format!("cannot delete the old checkpoint {}", old.display()))?;
        }
        Ok(path)
    }
}

fn is_run(root: &Path) -> bool {
    root.join("config.toml").is_file() || root.join("metrics.jsonl").is_file()
}

fn refuse_occupied(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    if is_run(root) {
        bail!("{} already holds a run: resume it, or choose another directory", root.display());
    }
    let mut entries = fs::read_dir(root).with_context(|| format!("{} cannot be a run directory", root.display()))?;
    if entries.any(|entry| entry.map_or(true, |entry| !is_leftover(&entry.file_name()))) {
        bail!("{} is not empty and holds no run: choose another directory", root.display());
    }
    Ok(())
}

/// What a run that was killed in its first moments leaves.
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

fn remove_dir_if_there(path: &Path) -> std::io::Result<()> {
    if path.exists() { fs::remove_dir_all(path) } else { Ok(()) }
}

fn sync_tree(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync_dir(folder)
}

/// Makes a rename in `folder` durable. Only Unix can open a directory for that.
fn sync_dir(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flowrl_lm::fs::atomic_write;

    fn fresh() -> (tempfile::TempDir, RunDir) {
        let dir = tempfile::tempdir().unwrap();
        let run = RunDir::create(&dir.path().join("runs/a")).unwrap();
        (dir, run)
    }

    fn steps(run: &RunDir) -> Vec<u64> {
        run.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect()
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

    #[test]
    fn checkpoints_rotate_and_the_newest_stays() {
        let (_dir, run) = fresh();
        assert_eq!(run.latest_checkpoint().unwrap(), None);
        for step in [100, 200, 300, 1_000_000] {
            let write = |path: &Path| Ok(fs::write(path.join("w"), step.to_string())?);
            let path = run.write_checkpoint(step, 2, write).unwrap();
            assert_eq!(fs::read_to_string(path.join("w")).unwrap(), step.to_string());
        }
        assert_eq!(steps(&run), [300, 1_000_000]);
        run.write_checkpoint(1_000_001, 0, |_| Ok(())).unwrap();
        assert_eq!(steps(&run), [1_000_001]);
    }

    #[test]
    fn a_failed_checkpoint_changes_nothing_and_leaves_no_trace_later() {
        let (_dir, run) = fresh();
        run.write_checkpoint(1, 1, |path| Ok(fs::write(path.join("w"), "good")?)).unwrap();
        let failed = run.write_checkpoint(2, 1, |path| {
            fs::write(path.join("half"), "bad")?;
            bail!("disk full")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("step-000002: disk full"));
        assert_eq!(steps(&run), [1]);
        let path = run.write_checkpoint(1, 1, |path| Ok(fs::write(path.join("w"), "better")?)).unwrap();
        assert_eq!(fs::read_to_string(path.join("w")).unwrap(), "better");
        assert_eq!(fs::read_dir(path).unwrap().count(), 1, "nothing of the failed one is left");
        assert_eq!(fs::read_dir(run.root().join("checkpoints")).unwrap().count(), 1);
    }

    #[test]
    fn an_older_step_written_again_survives_rotation() {
        let (_dir, run) = fresh();
        for step in [10, 20, 5] {
            run.write_checkpoint(step, 1, |_| Ok(())).unwrap();
        }
        assert_eq!(steps(&run), [5, 20]);
        run.write_checkpoint(5, 0, |_| Ok(())).unwrap();
        assert_eq!(steps(&run), [5, 20], "the newest stays although it may keep none");
    }
}
