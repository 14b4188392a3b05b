//! A model, its text and its prompts, opened as a configuration says.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::countdown::{ProblemSpec, Problems};
use flowrl_lm::prompts::{PromptRow, read_prompts};
use flowrl_lm::task::{Text, TextTask};

use crate::config::{Config, TaskKind};
use crate::{embedded, template};

/// Opens a model folder, or the model in the program.
///
/// # Errors
/// A folder that is no checkpoint.
pub fn open_model(path: Option<&Path>) -> Result<Checkpoint> {
    match path {
        Some(path) => Checkpoint::open(path).with_context(|| format!("cannot open the model {}", path.display())),
        None => embedded::checkpoint(),
    }
}

/// The prompts to train on, and those held out.
#[derive(Debug)]
pub struct Tasks {
    /// To train on.
    pub train: TextTask,
    /// For evaluation only.
    pub held_out: TextTask,
}

impl Tasks {
    /// Opens the prompts that a configuration names.
    ///
    /// # Errors
    /// A file with a bad line, prompts that the verifier or the tokenizer cannot use.
    pub fn open(config: &Config, checkpoint: &Checkpoint) -> Result<Self> {
        let text = Text::of(checkpoint)?.with_template_options(template::options(&config.model.template)?);
        let task = &config.task;
        match task.kind {
            TaskKind::Countdown => {
                let problems = Arc::new(Problems::generate(&ProblemSpec {
                    counts: task.numbers.clone(),
                    max_number: task.max_number,
                    targets: 1..=task.max_target,
                    seed: task.seed,
                })?);
                let open = |held_out| {
                    TextTask::countdown(text.clone(), Arc::clone(&problems), held_out).context(
                        "the model's tokenizer cannot write Countdown problems; give it prompts of its own by --prompts",
                    )
                };
                Ok(Self { train: open(false)?, held_out: open(true)? })
            }
            _ => {
                let path = task.prompts.as_deref().context("task.kind is prompts, so give a file by --prompts")?;
                let rows = read_prompts(path)?;
                let (train, held_out) = match &task.held_out {
                    Some(file) => (rows, read_prompts(file)?),
                    None => every_tenth(rows),
                };
                template::tell(&text, train.iter().chain(&held_out));
                let open = |rows| TextTask::new(text.clone(), rows, &task.verifier);
                let train = open(train).with_context(|| format!("in {}", path.display()))?;
                let held_out_path = task.held_out.as_deref().unwrap_or(path);
                let held_out = open(held_out).with_context(|| format!("in {}", held_out_path.display()))?;
                Ok(Self { train, held_out })
            }
        }
    }
}

/// Holds out the 1st, 11th, 21st, … row; a single row is trained and evaluated on.
fn every_tenth(rows: Vec<PromptRow>) -> (Vec<PromptRow>, Vec<PromptRow>) {
    if rows.len() < 2 {
        return (rows.clone(), rows);
    }
    let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(i, _)| i % 10 == 0);
    let rows = |pairs: Vec<(usize, PromptRow)>| pairs.into_iter().map(|(_, row)| row).collect();
    (rows(train), rows(held_out))
}
