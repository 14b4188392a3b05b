//! Writes and restores the checkpoints and rollouts of a run.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flowrl_core::train::{Progress, Rollouts};
use flowrl_lm::fs::atomic_write;
use flowrl_lm::rollouts::RolloutRow;
use flowrl_lm::state::{read_state, write_state};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::subject::{EvalPart, NOT_FINITE, STATE, Show, Trainable};
use crate::metrics::{Record, Writer};
use crate::run_dir::best::Best;
use crate::run_dir::{RunDir, set_aside, verify, warn_of_damage};
use crate::{note, warn};

const PROGRESS: &str = "trainer.json";
const COVERED: &str = "records.json";

/// The version of the format of `trainer.json`.
const FORMAT: u64 = 1;

/// The contents of `trainer.json` of a checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: u64,
    #[serde(flatten)]
    progress: Progress,
}

/// The contents of `records.json` of a checkpoint: the records that it covers. Unlike the other files, this one depends
/// on the clock, as records do.
#[derive(Debug, Serialize, Deserialize)]
struct Covered {
    /// Bytes of `metrics.jsonl`.
    metrics: u64,
    /// Bytes of `rollouts.jsonl`.
    rollouts: u64,
    /// Record of this step, if its evaluation was interrupted. A resumed run evaluates it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unmeasured: Option<String>,
}

/// Writes a checkpoint with the policy and the trainer's state. This function first syncs the records that the
/// checkpoint covers to the disk.
pub(super) fn save(
    directory: &RunDir,
    keep: usize,
    best: Option<&Best>,
    subject: &dyn Trainable,
    records: (&Writer, &mut RolloutWriter),
    unmeasured: Option<&Record>,
) -> Result<()> {
    let progress = subject.progress();
    let mut steps = directory.steps()?;
    steps.retain(|step| *step != progress.step);
    steps.push(progress.step);
    steps.sort_unstable();
    let spared = best.map(|best| best.spared(&steps, keep)).unwrap_or_default();
    let (metrics, rollouts) = (records.0.sync()?, records.1.sync()?);
    let manifest = Manifest { format: FORMAT, progress };
    let covered = Covered { metrics, rollouts, unmeasured: unmeasured.map(Record::to_line) };
    directory.write_checkpoint(progress.step, keep, &spared, |path| {
        let mut lists: Vec<_> = subject.save(path)?.into_iter().collect();
        lists.sort_by(|a, b| a.0.cmp(&b.0));
        ensure!(lists.iter().all(|(_, list)| list.iter().all(|x| x.is_finite())), "{}", NOT_FINITE);
        write_state(&path.join(STATE), &lists)?;
        atomic_write(&path.join(PROGRESS), &serde_json::to_vec_pretty(&manifest)?)?;
        atomic_write(&path.join(COVERED), &serde_json::to_vec_pretty(&covered)?)?;
        Ok(())
    })?;
    Ok(())
}

/// Restores the policy and the trainer from the last checkpoint, or the one with the name `from`, and drops the records
/// after it. If there is no checkpoint, the run starts from the beginning, and its records so far are set aside.
/// Returns the record that is still to be evaluated, if there is one.
pub(super) fn restore(directory: &RunDir, subject: &mut dyn Trainable, from: Option<&str>) -> Result<Option<Record>> {
    let chosen = match from {
        Some(name) => Some(directory.checkpoint(name)?),
        None => directory.latest_checkpoint()?,
    };
    let Some((step, path)) = chosen else {
        for file in [directory.metrics(), directory.rollouts()] {
            if std::fs::metadata(&file).is_ok_and(|file| file.len() > 0) {
                let aside = set_aside(&file, &file.with_extension("aside.jsonl"))?;
                warn!(
                    "there is no checkpoint: the run starts again from the beginning, and its records so far are kept in {}",
                    aside.display()
                );
            }
        }
        return Ok(None);
    };
    let covered = manifest(step, &path).and_then(|manifest| {
        let mut lists = read_state(&path.join(STATE))?;
        subject.load(&path, &mut lists, manifest.progress)?;
        read_json::<Covered>(&path.join(COVERED))
    });
    let covered = covered.with_context(|| remedy(directory, step, &path))?;
    let records = [(directory.metrics(), covered.metrics), (directory.rollouts(), covered.rollouts)];
    // Check both files before changing either.
    let size = |file: &Path| std::fs::metadata(file).map_or(0, |file| file.len());
    for (file, len) in &records {
        let found = size(file);
        ensure!(
            found >= *len,
            "{} has {found} bytes, but {} covers {len}: records are missing; put the file back, or --resume-from an older checkpoint",
            file.display(),
            path.display()
        );
    }
    // Drop the records that the checkpoint does not cover.
    for (file, len) in records.iter().filter(|(file, len)| size(file) > *len) {
        // Use a separate handle, because some systems refuse to shorten a file that is opened for appending.
        let cut = OpenOptions::new().write(true).open(file).and_then(|file| file.set_len(*len));
        cut.with_context(|| format!("cannot shorten {}", file.display()))?;
    }
    if directory.rollouts().exists() {
        warn_of_damage(&directory.rollouts())?;
    }
    for aside in directory.set_aside_after(step)? {
        note!("a later checkpoint is kept as {}", aside.display());
    }
    covered.unmeasured.map(|line| Record::parse(line.as_bytes())).transpose()
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    let failed = || format!("cannot read {}", file.display());
    serde_json::from_slice(&std::fs::read(file).with_context(failed)?).with_context(failed)
}

/// Checks a checkpoint's files against their checksums, and its step against its name.
fn manifest(step: u64, path: &Path) -> Result<Manifest> {
    verify(path)?;
    let file = path.join(PROGRESS);
    let value: serde_json::Value = read_json(&file)?;
    let format = value["format"].as_u64();
    ensure!(
        format == Some(FORMAT),
        "{} has the format {}, but this program reads {FORMAT}: continue with the version that wrote it",
        file.display(),
        format.map_or_else(|| "of an earlier version".to_owned(), |format| format.to_string())
    );
    let manifest: Manifest =
        serde_json::from_value(value).with_context(|| format!("cannot read {}", file.display()))?;
    let got = manifest.progress.step;
    ensure!(got == step, "{} is of step {got}, but its folder's name says {step}", file.display());
    Ok(manifest)
}

/// Returns the advice for a checkpoint that cannot be used.
fn remedy(directory: &RunDir, step: u64, path: &Path) -> String {
    let older = directory.checkpoints().unwrap_or_default().into_iter().filter(|(other, _)| *other < step).rev();
    let whole = older.filter_map(|(_, path)| verify(&path).is_ok().then_some(path)).next();
    let way = match whole.as_deref().and_then(Path::file_name) {
        Some(name) => format!("an older one is intact: --resume-from {}", name.display()),
        None => "there is no older one: begin a new run".to_owned(),
    };
    format!("cannot continue from {} ({way})", path.display())
}

/// A writer that appends completions to `rollouts.jsonl`.
#[derive(Debug)]
pub(super) struct RolloutWriter {
    path: PathBuf,
    file: BufWriter<File>,
}

impl RolloutWriter {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Appends the completions of a step; `of` tells those of an evaluation.
    pub(super) fn append(
        &mut self,
        step: u64,
        rollouts: &Rollouts<f32>,
        subject: &dyn Show,
        of: Option<&EvalPart>,
    ) -> Result<()> {
        let (held_out, set, greedy) = match of {
            Some(part) => (true, part.set.clone(), part.greedy),
            None => (false, None, false),
        };
        for row in (0..rollouts.len()).filter_map(|i| subject.row(rollouts, i, of)) {
            RolloutRow { step: Some(step), held_out, set: set.clone(), greedy, ..row }
                .write_line(&mut self.file, &self.path)?;
        }
        self.file.flush().with_context(|| format!("cannot write {}", self.path.display()))
    }

    /// Syncs all rows to the disk and returns the size of the file in bytes.
    fn sync(&mut self) -> Result<u64> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_data());
        let len = synced.and_then(|()| self.file.get_ref().metadata()).map(|file| file.len());
        len.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
