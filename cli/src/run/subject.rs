//! The subject of a run: a policy with its trainer, the source of its completions, and its evaluation.
//!
//! Methods return an error if the policy or the file system fails.

use std::collections::HashMap;
use std::fmt::Debug;
use std::path::Path;

use anyhow::{Result, bail};
use flowrl_core::backend::Backend;
use flowrl_core::train::{Metrics, Progress, Rollouts, Trainer};
use flowrl_lm::chat::ChatInputs;
use flowrl_lm::prompts::{Origin, Prompt};
use flowrl_lm::rollouts::RolloutRow;

use crate::metrics::Record;
use crate::run_dir::RunDir;

/// A part of an evaluation, whose completions are sampled together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalPart {
    /// Name of the set of prompts, if it has one.
    pub set: Option<String>,
    /// Whether the completions are decoded greedily.
    pub greedy: bool,
}

/// The policy and its trainer.
pub trait Trainable {
    /// Returns the progress of training.
    fn progress(&self) -> Progress;

    /// Returns the completions of the next step with their rewards.
    fn collect(&mut self) -> Result<Rollouts<f32>>;

    /// Updates the policy from the completions of a step, and returns the step's metrics.
    fn learn(&mut self, rollouts: &Rollouts<f32>) -> Result<Metrics>;

    /// Evaluates the policy, adds the measures to `record`, and returns the completions that were sampled for this.
    fn evaluate(&mut self, record: &mut Record) -> Result<Vec<(EvalPart, Rollouts<f32>)>>;

    /// Writes the policy into the folder of a checkpoint, and returns the state of its optimiser and of log Z.
    fn save(&self, folder: &Path) -> Result<State>;

    /// Restores the policy and the trainer at `progress` from the files and the state that [`Trainable::save`] made.
    fn load(&mut self, folder: &Path, state: &mut State, progress: Progress) -> Result<()>;
}

/// The subject's part in records, in files, and on the terminal.
pub trait Show {
    /// Returns the number of trainable parameters.
    fn parameters(&self) -> u64;

    /// Describes the subject in a few words.
    fn headline(&self) -> String;

    /// Returns whether the run records only steps that it evaluates, and keeps only their completions.
    fn is_brief(&self) -> bool;

    /// Adds further values of a step to its record, for example the throughput.
    fn describe(&self, rollouts: &Rollouts<f32>, seconds: f64, record: &mut Record);

    /// Returns completion `i` of a step, or of a part of an evaluation, as a row of `rollouts.jsonl`, or `None` if it is
    /// not kept. The run fills in `step`, `held_out`, `set` and `greedy`.
    fn row(&self, rollouts: &Rollouts<f32>, i: usize, of: Option<&EvalPart>) -> Option<RolloutRow>;

    /// Returns a few words about a step for the progress line.
    fn message(&self, record: &Record) -> String;

    /// Describes an evaluation in a few words. Returns `None` if evaluations are too frequent to report each.
    fn measured(&self, record: &Record) -> Option<String>;

    /// Writes the files that the report needs in addition to the metrics.
    fn finish(&mut self, directory: &RunDir) -> Result<()>;

    /// Summarizes the results of the run for people, line by line.
    fn summary(&self, directory: &RunDir) -> Result<Vec<String>>;
}

/// A policy that a run can train and show.
pub trait Subject: Trainable + Show + Debug {}

impl<T: Trainable + Show + Debug> Subject for T {}

/// Returns completion `i` as a row of `rollouts.jsonl`, without the fields that depend on the subject.
pub(crate) fn row(rollouts: &Rollouts<f32>, i: usize, prompt: Prompt) -> RolloutRow {
    let (completions, judgement) = (&rollouts.completions, &rollouts.judgements[i]);
    let log_probs = &completions.log_probs[completions.offsets[i]..completions.offsets[i + 1]];
    RolloutRow {
        prompt,
        chat: ChatInputs::default(),
        completion: None,
        completion_ids: Some(completions.get(i).to_vec()),
        reward: judgement.reward,
        parts: judgement.parts.iter().map(|(name, reward)| (name.to_string(), (*reward).into())).collect(),
        answer: serde_json::Value::Null,
        old_logp: Some(log_probs.iter().map(|&l| f64::from(l)).collect()),
        group: None,
        finish_reason: None,
        stop_reason: serde_json::Value::Null,
        verdict: Some(judgement.verdict.to_string()),
        step: None,
        held_out: false,
        set: None,
        greedy: false,
        origin: Origin::default(),
    }
}

/// The file of a checkpoint with the [`State`].
pub(super) const STATE: &str = "trainer.safetensors";

/// The lists of numbers in a checkpoint, by name.
pub type State = HashMap<String, Vec<f32>>;

/// Restores log Z and the progress of training from a checkpoint.
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

/// The error if a checkpoint is not written because a number is not finite.
pub const NOT_FINITE: &str = "an update made a weight or a moment of the optimiser that is not finite, so this checkpoint is not written; begin \
                              another run from the last good checkpoint with --model RUN, and a lower --learning-rate";
