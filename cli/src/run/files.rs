//! Checkpoints and rollouts of a run.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flowrl_core::backend::Backend;
use flowrl_core::train::{Progress, Rollouts, Trainer};
use flowrl_lm::fs::atomic_write;
use flowrl_lm::rollouts::RolloutRow;
use flowrl_lm::state::{read_state, write_state};

use super::Subject;
use crate::metrics;
use crate::run_dir::RunDir;

const PROGRESS: &str = "trainer.json";
const STATE: &str = "trainer.safetensors";

/// Lists of numbers by name.
pub type State = HashMap<String, Vec<f32>>;

/// Puts log Z and progress where a checkpoint left them.
pub fn restore_trainer<B: Backend<Real = f32>>(
    trainer: &mut Trainer<B>,
    backend: &B,
    folder: &Path,
    state: &mut State,
    progress: Progress,
) -> Result<()> {
    if let Err(name) = trainer.log_z_mut().restore(backend, |name| state.remove(name))? {
        bail!("{}/{STATE} has no `{name}` of the right size: was the objective or [log_z] changed?", folder.display());
    }
    trainer.set_progress(progress);
    Ok(())
}

/// Writes a checkpoint: the policy, and the trainer's state beside it.
pub(super) fn save(directory: &RunDir, keep: usize, subject: &dyn Subject) -> Result<()> {
    let progress = subject.progress();
    directory.write_checkpoint(progress.step, keep, |path| {
        let mut lists: Vec<_> = subject.save(path)?.into_iter().collect();
        lists.sort_by(|a, b| a.0.cmp(&b.0));
        write_state(&path.join(STATE), &lists)?;
        atomic_write(&path.join(PROGRESS), &serde_json::to_vec_pretty(&progress)?)?;
        Ok(())
    })?;
    Ok(())
}

/// Puts policy and trainer where the last checkpoint left them, and drops what was recorded after it. Without a checkpoint the
/// run starts from the beginning.
pub(super) fn restore(directory: &RunDir, subject: &mut dyn Subject) -> Result<()> {
    let Some((step, path)) = directory.latest_checkpoint()? else {
        for file in [directory.metrics(), directory.rollouts()] {
            if file.exists() {
                std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
        }
        return Ok(());
    };
    let text =
        std::fs::read(path.join(PROGRESS)).with_context(|| format!("cannot read {PROGRESS} of {}", path.display()))?;
    let progress: Progress =
        serde_json::from_slice(&text).with_context(|| format!("in {}/{PROGRESS}", path.display()))?;
    let mut lists = read_state(&path.join(STATE))?;
    subject.load(&path, &mut lists, progress)?;
    if directory.metrics().exists() {
        metrics::truncate_after_step(&directory.metrics(), step)?;
    }
    if directory.rollouts().exists() {
        truncate_rollouts(&directory.rollouts(), step)?;
    }
    Ok(())
}

/// Drops the rows of later steps, and a torn last line.
fn truncate_rollouts(path: &Path, step: u64) -> Result<()> {
    let bytes = std::fs::read(path)?;
    let kept: Vec<u8> = bytes
        .split_inclusive(|&b| b == b'\n')
        .filter(|line| {
            let row: Result<RolloutRow, _> = serde_json::from_slice(line);
            row.is_ok_and(|row| row.step.is_some_and(|s| s <= step))
        })
        .flatten()
        .copied()
        .collect();
    if kept.len() != bytes.len() {
        atomic_write(path, &kept)?;
    }
    Ok(())
}

/// Appends completions to `rollouts.jsonl`.
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

    /// Appends the completions of a step.
    pub(super) fn append(
        &mut self,
        step: u64,
        rollouts: &Rollouts<f32>,
        subject: &dyn Subject,
        held_out: bool,
    ) -> Result<()> {
        for row in (0..rollouts.len()).filter_map(|i| subject.row(rollouts, i, held_out)) {
            RolloutRow { step: Some(step), held_out, ..row }.write_line(&mut self.file, &self.path)?;
        }
        self.file.flush().with_context(|| format!("cannot write {}", self.path.display()))
    }
}
