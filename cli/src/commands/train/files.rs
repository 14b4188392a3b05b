//! Checkpoints and rollouts of a run.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use flowrl_core::backend::CpuBackend;
use flowrl_core::policy::Policy;
use flowrl_core::train::{Progress, Rollouts, Trainer};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::config::Dtype;
use flowrl_lm::fs::atomic_write;
use flowrl_lm::rollouts::RolloutRow;
use flowrl_lm::state::{read_state, write_state};
use flowrl_lm::task::TextTask;
use flowrl_lm::{load_weights, save_policy};

use crate::metrics;
use crate::run_dir::RunDir;
use crate::session::CpuPolicy;

const PROGRESS: &str = "trainer.json";
const STATE: &str = "trainer.safetensors";

/// Writes a checkpoint: a Hugging Face folder in full precision, and the trainer's state beside it.
pub(super) fn save(
    directory: &RunDir,
    keep: usize,
    policy: &CpuPolicy,
    trainer: &Trainer<CpuBackend<f32>>,
    origin: &Checkpoint,
) -> Result<()> {
    let progress = trainer.progress();
    directory.write_checkpoint(progress.step, keep, |path| {
        save_policy(path, policy, origin, Dtype::F32)?;
        let mut lists = trainer.log_z().state(policy.backend())?;
        for (i, [first, second]) in policy.moments()?.into_iter().enumerate() {
            lists.push((format!("policy.{i}.first_moment"), first));
            lists.push((format!("policy.{i}.second_moment"), second));
        }
        write_state(&path.join(STATE), &lists)?;
        atomic_write(&path.join(PROGRESS), &serde_json::to_vec_pretty(&progress)?)?;
        Ok(())
    })?;
    Ok(())
}

/// Puts policy and trainer where the last checkpoint left them, and drops what was recorded after it. Without a checkpoint the
/// run starts from the beginning.
pub(super) fn restore(
    directory: &RunDir,
    policy: &mut CpuPolicy,
    trainer: &mut Trainer<CpuBackend<f32>>,
) -> Result<()> {
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
    policy.set_weights(load_weights(policy.backend(), &Checkpoint::open(&path)?)?);
    let mut moments = Vec::new();
    while let (Some(first), Some(second)) = (
        lists.remove(&format!("policy.{}.first_moment", moments.len())),
        lists.remove(&format!("policy.{}.second_moment", moments.len())),
    ) {
        moments.push([first, second]);
    }
    policy.restore_moments(&moments)?;
    let restored = trainer.log_z_mut().restore(policy.backend(), |name| lists.get(name).cloned())?;
    if let Err(name) = restored {
        bail!("{}/{STATE} has no `{name}` of the right size: was the objective or [log_z] changed?", path.display());
    }
    trainer.set_progress(progress);
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
        task: &TextTask,
        held_out: bool,
    ) -> Result<()> {
        let completions = &rollouts.completions;
        for i in 0..rollouts.len() {
            let number = rollouts.prompt_numbers[completions.prompt_of[i]];
            let range = completions.offsets[i]..completions.offsets[i + 1];
            let row = RolloutRow {
                prompt: task.row(number).prompt.clone(),
                completion: Some(task.text().decode(completions.get(i))),
                completion_ids: Some(completions.get(i).to_vec()),
                reward: f64::from(rollouts.rewards[i]),
                old_logp: Some(completions.log_probs[range].iter().map(|&l| f64::from(l)).collect()),
                group: Some(number as u64),
                verdict: Some(rollouts.verdicts[i].to_owned()),
                step: Some(step),
                held_out,
            };
            row.write_line(&mut self.file, &self.path)?;
        }
        self.file.flush().with_context(|| format!("cannot write {}", self.path.display()))
    }
}
