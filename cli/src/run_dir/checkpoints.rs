//! Writes, checks and rotates the checkpoints of a run.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use flowrl_lm::fs::atomic_write;
use sha2::{Digest, Sha256};

use super::{RunDir, first_free};

/// The file with the checksums of a checkpoint's files, in the format of `sha256sum --check`.
const SUMS: &str = "SHA256SUMS";
/// The suffix of names of files and folders that are being written or deleted.
const LITTER: &str = ".tmp";
/// The suffix of a checkpoint's name while its replacement takes its place.
const REPLACED: &str = ".replaced.tmp";

impl RunDir {
    fn folder(&self) -> PathBuf {
        self.root().join("checkpoints")
    }

    /// Returns the complete checkpoints as `(step, directory)`, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<(u64, PathBuf)>> {
        let mut found: Vec<_> = list(&self.folder())?
            .into_iter()
            .filter_map(|path| Some((step_of(path.file_name()?.to_str()?)?, path)))
            .filter(|(_, path)| path.is_dir())
            .collect();
        found.sort();
        Ok(found)
    }

    /// Returns the steps of the complete checkpoints in ascending order.
    pub(crate) fn steps(&self) -> Result<Vec<u64>> {
        Ok(self.checkpoints()?.into_iter().map(|(step, _)| step).collect())
    }

    /// Returns the step and directory of the newest complete checkpoint.
    pub fn latest_checkpoint(&self) -> Result<Option<(u64, PathBuf)>> {
        Ok(self.checkpoints()?.pop())
    }

    /// Returns the checkpoint with this name, for example `step-000100`.
    pub fn checkpoint(&self, name: &str) -> Result<(u64, PathBuf)> {
        let all = self.checkpoints()?;
        let names: Vec<String> = all.iter().map(|(step, _)| name_of(*step)).collect();
        match all.into_iter().find(|(step, _)| name_of(*step) == name) {
            Some(found) => Ok(found),
            None if names.is_empty() => bail!("{} has no checkpoint", self.root().display()),
            None => bail!("{} has no checkpoint `{name}`, but {}", self.root().display(), names.join(", ")),
        }
    }

    /// Writes the checkpoint of `step`: `write` fills a temporary directory, which gets checksums, is synced and
    /// renamed into place. This function then deletes all but the newest `keep` checkpoints and those of the steps
    /// `spared`. The newest always stays, even if `keep` is 0.
    ///
    /// # Errors
    /// Returns the error of `write`, in which case no checkpoint is touched, or an error of the file system.
    pub fn write_checkpoint(
        &self,
        step: u64,
        keep: usize,
        spared: &[u64],
        write: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<PathBuf> {
        let (folder, name) = (self.folder(), name_of(step));
        let path = folder.join(&name);
        let (fresh, replaced) = (folder.join(format!("{name}.new{LITTER}")), folder.join(name + REPLACED));
        let failed = || format!("cannot write the checkpoint {}", path.display());

        remove_dir_if_there(&fresh).with_context(failed)?;
        fs::create_dir_all(&fresh).with_context(failed)?;
        let written = write(&fresh).and_then(|()| write_sums(&fresh)).and_then(|()| Ok(sync_tree(&fresh)?));
        if written.is_err() {
            let _ = fs::remove_dir_all(&fresh);
        }
        written.with_context(failed)?;
        if path.exists() {
            fs::rename(&path, &replaced).with_context(failed)?;
        }
        fs::rename(&fresh, &path).with_context(failed)?;
        sync_dir(&folder).with_context(failed)?;
        remove_dir_if_there(&replaced).with_context(failed)?;
        self.rotate(keep, &[spared, &[step]].concat())?;
        Ok(path)
    }

    /// Deletes all but the newest `keep` checkpoints and those of the steps `spared`. The newest always stays.
    pub fn rotate(&self, keep: usize, spared: &[u64]) -> Result<()> {
        let mut old = self.checkpoints()?;
        old.truncate(old.len().saturating_sub(keep.max(1)));
        for (step, path) in old.iter().filter(|(step, _)| !spared.contains(step)) {
            // Rename before deleting, so that a folder with the name of a checkpoint is complete at every moment.
            let leaving = self.folder().join(format!("{}{LITTER}", name_of(*step)));
            remove_dir_if_there(&leaving)
                .and_then(|()| fs::rename(path, &leaving))
                .and_then(|()| fs::remove_dir_all(&leaving))
                .with_context(|| format!("cannot delete the old checkpoint {}", path.display()))?;
        }
        Ok(())
    }

    /// Renames the checkpoints after `step` so that no run reads them, and returns the new paths.
    pub fn set_aside_after(&self, step: u64) -> Result<Vec<PathBuf>> {
        let later = self.checkpoints()?.into_iter().filter(|(other, _)| *other > step);
        later.map(|(step, path)| set_aside(&path, &self.folder().join(format!("aside-{}", name_of(step))))).collect()
    }

    /// Deletes files and folders that killed processes left half written or half deleted. A checkpoint that was renamed
    /// for a replacement gets its name back if the replacement is missing.
    pub(super) fn clear_litter(&self) -> Result<()> {
        for path in list(self.root())?.into_iter().chain(list(&self.folder())?) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            // The pattern `.….old` is that of a folder replaced by `flowrl_lm::fs`.
            if !(name.ends_with(LITTER) || name.starts_with('.') && name.ends_with(".old")) {
                continue;
            }
            let original = name.strip_suffix(REPLACED).filter(|name| step_of(name).is_some());
            let original = original.map(|name| path.with_file_name(name)).filter(|original| !original.exists());
            let cleared = match original {
                Some(original) => fs::rename(&path, original),
                None if path.is_dir() => fs::remove_dir_all(&path),
                None => fs::remove_file(&path),
            };
            cleared.with_context(|| format!("cannot clear away {}", path.display()))?;
        }
        Ok(())
    }
}

/// Renames a file or folder to `aside`, or to the first free name of `aside-2`, `aside-3`, …, and returns the new path.
pub(crate) fn set_aside(path: &Path, aside: &Path) -> Result<PathBuf> {
    let free = first_free(aside, "");
    fs::rename(path, &free).with_context(|| format!("cannot rename {} to {}", path.display(), free.display()))?;
    Ok(free)
}

/// Compares the files of a checkpoint with its checksums.
pub(crate) fn verify(checkpoint: &Path) -> Result<()> {
    let path = checkpoint.join(SUMS);
    let sums = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(!sums.is_empty(), "{} is empty", path.display());
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").with_context(|| format!("{}: a line is damaged", path.display()))?;
        let plain = Path::new(name).file_name().is_some_and(|file| file == name);
        ensure!(plain, "{}: `{name}` is not a file name", path.display());
        let file = checkpoint.join(name);
        let found = sha256(&file)?;
        ensure!(found == sum, "{} is damaged: its SHA-256 is not the one in {SUMS}", file.display());
    }
    Ok(())
}

fn write_sums(folder: &Path) -> Result<()> {
    let mut lines = Vec::new();
    for file in list(folder)? {
        if let Some(name) = file.file_name().and_then(|name| name.to_str()) {
            lines.push(format!("{}  {name}\n", sha256(&file)?));
        }
    }
    Ok(atomic_write(&folder.join(SUMS), lines.concat().as_bytes())?)
}

/// Returns the SHA-256 of a file in hexadecimal.
pub fn sha256(path: &Path) -> Result<String> {
    let failed = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(failed)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).with_context(failed)? {
            0 => break,
            n => hash.update(&piece[..n]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the name of the checkpoint of a step.
pub(crate) fn name_of(step: u64) -> String {
    format!("step-{step:06}")
}

/// Returns the step of a checkpoint's name, or `None` if no checkpoint has such a name.
fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name_of(step) == name).then_some(step)
}

/// Lists the paths in a folder in order. The list is empty if there is no folder.
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", folder.display());
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder).with_context(failed)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>().with_context(failed)?;
    paths.sort();
    Ok(paths)
}

pub(crate) fn remove_dir_if_there(path: &Path) -> std::io::Result<()> {
    if path.exists() { fs::remove_dir_all(path) } else { Ok(()) }
}

fn sync_tree(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { sync_tree(&path)? } else { File::open(&path)?.sync_all()? }
    }
    sync_dir(folder)
}

/// Makes a rename in `folder` durable. Only Unix can open a directory for this.
fn sync_dir(folder: &Path) -> std::io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run_dir::tests::fresh;

    fn names(run: &RunDir) -> Vec<String> {
        let paths = list(&run.folder()).unwrap();
        paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    fn steps(run: &RunDir) -> Vec<u64> {
        run.checkpoints().unwrap().into_iter().map(|(step, _)| step).collect()
    }

    #[test]
    fn checkpoints_rotate_and_the_newest_stays() {
        let (_dir, run) = fresh();
        assert_eq!(run.latest_checkpoint().unwrap(), None);
        for step in [100, 200, 300, 1_000_000] {
            let write = |path: &Path| Ok(fs::write(path.join("w"), step.to_string())?);
            let path = run.write_checkpoint(step, 2, &[], write).unwrap();
            assert_eq!(fs::read_to_string(path.join("w")).unwrap(), step.to_string());
        }
        assert_eq!(steps(&run), [300, 1_000_000]);
        run.write_checkpoint(1_000_001, 0, &[], |_| Ok(())).unwrap();
        assert_eq!(steps(&run), [1_000_001]);
    }

    #[test]
    fn a_failed_checkpoint_changes_nothing_and_leaves_no_trace_later() {
        let (_dir, run) = fresh();
        run.write_checkpoint(1, 1, &[], |path| Ok(fs::write(path.join("w"), "good")?)).unwrap();
        let failed = run.write_checkpoint(2, 1, &[], |path| {
            fs::write(path.join("half"), "bad")?;
            bail!("disk full")
        });
        assert!(format!("{:#}", failed.unwrap_err()).contains("step-000002: disk full"));
        assert_eq!(steps(&run), [1]);
        let path = run.write_checkpoint(1, 1, &[], |path| Ok(fs::write(path.join("w"), "better")?)).unwrap();
        assert_eq!(fs::read_to_string(path.join("w")).unwrap(), "better");
        assert_eq!(fs::read_dir(path).unwrap().count(), 2, "only `w` and its sum are left");
        assert_eq!(fs::read_dir(run.root().join("checkpoints")).unwrap().count(), 1);
    }

    #[test]
    fn an_older_step_written_again_survives_rotation() {
        let (_dir, run) = fresh();
        for step in [10, 20, 5] {
            run.write_checkpoint(step, 1, &[], |_| Ok(())).unwrap();
        }
        assert_eq!(steps(&run), [5, 20]);
        run.write_checkpoint(5, 0, &[], |_| Ok(())).unwrap();
        assert_eq!(steps(&run), [5, 20], "the newest stays although it may keep none");
    }

    #[test]
    fn only_names_as_they_are_written_are_checkpoints() {
        let (_dir, run) = fresh();
        for name in
            ["step-000007", "step-7", "step-+00008", "step-0000009", "step-1234567", "step-00000x", "aside-step-000001"]
        {
            fs::create_dir_all(run.folder().join(name)).unwrap();
        }
        fs::write(run.folder().join("step-000005"), "a file").unwrap();
        assert_eq!(steps(&run), [7, 1_234_567]);
        assert_eq!(run.checkpoint("step-000007").unwrap().0, 7);
        let error = run.checkpoint("step-7").unwrap_err().to_string();
        assert!(error.contains("`step-7`, but step-000007, step-1234567"), "{error}");
    }

    #[test]
    fn a_checkpoint_is_checked_by_its_sums() {
        let (_dir, run) = fresh();
        let write = |path: &Path| {
            fs::write(path.join("a"), "first")?;
            Ok(fs::write(path.join("b"), "second")?)
        };
        let path = run.write_checkpoint(1, 1, &[], write).unwrap();
        verify(&path).unwrap();
        // The output of `printf first | sha256sum`.
        let sum = "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e";
        assert!(fs::read_to_string(path.join(SUMS)).unwrap().starts_with(&format!("{sum}  a\n")));
        for damage in [&|| fs::write(path.join("b"), "sec0nd"), &|| fs::remove_file(path.join("b"))]
            as [&dyn Fn() -> std::io::Result<()>; 2]
        {
            damage().unwrap();
            assert!(format!("{:#}", verify(&path).unwrap_err()).contains("step-000001/b"));
        }
        fs::write(path.join(SUMS), format!("{sum}  ../a\n")).unwrap();
        assert!(verify(&path).unwrap_err().to_string().contains("not a file name"));
        fs::write(path.join(SUMS), "").unwrap();
        assert!(verify(&path).is_err());
    }

    #[test]
    fn who_takes_the_lock_clears_away_what_was_left() {
        let (_dir, run) = fresh();
        run.write_checkpoint(1, 2, &[], |path| Ok(fs::write(path.join("w"), "old")?)).unwrap();
        fs::write(run.root().join("config.toml"), "").unwrap();
        let leave = |name: &str| {
            fs::create_dir_all(run.folder().join(name)).unwrap();
            fs::write(run.folder().join(name).join("model"), "half").unwrap();
        };
        // Processes were killed while a checkpoint was written, deleted, and replaced before its successor took its
        // place.
        for name in ["step-000002.new.tmp", ".new.tmp.77-1.tmp", ".new.tmp.77-2.old", "step-000000.tmp"] {
            leave(name);
        }
        fs::rename(run.folder().join("step-000001"), run.folder().join("step-000001.replaced.tmp")).unwrap();
        fs::write(run.root().join(".report.html.77-3.tmp"), "half").unwrap();
        let root = run.root().to_owned();
        drop(run);
        let run = RunDir::resume(&root).unwrap();
        assert_eq!(names(&run), ["step-000001"]);
        verify(&run.folder().join("step-000001")).unwrap();
        assert!(!root.join(".report.html.77-3.tmp").exists());
        // This process was killed after the successor took its place.
        fs::create_dir(run.folder().join("step-000001.replaced.tmp")).unwrap();
        drop(run);
        assert_eq!(names(&RunDir::resume(&root).unwrap()), ["step-000001"]);
    }

    #[test]
    fn later_checkpoints_are_put_aside_and_kept() {
        let (_dir, run) = fresh();
        for step in [1, 2, 3] {
            run.write_checkpoint(step, 9, &[], |_| Ok(())).unwrap();
        }
        assert_eq!(run.set_aside_after(1).unwrap().len(), 2);
        run.write_checkpoint(2, 9, &[], |_| Ok(())).unwrap();
        run.set_aside_after(1).unwrap();
        assert_eq!(names(&run), ["aside-step-000002", "aside-step-000002-2", "aside-step-000003", "step-000001"]);
    }
}
