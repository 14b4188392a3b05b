//! Opens the model, the tokenizer and the prompts that a configuration names.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use flowrl_core::objective::LogZ;
use flowrl_core::task::Task;
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::countdown::{ProblemSpec, Problems};
use flowrl_lm::prompts::{PromptRow, RowKeys, read_prompts};
use flowrl_lm::task::{Text, TextTask};
use flowrl_lm::verify::{self, Verifier};
use flowrl_verify::Log;

use crate::config::{Config, TaskKind};
use crate::run_dir::best::{BEST, Best};
use crate::run_dir::{RunDir, name_of};
use crate::stored::StoredRollouts;
use crate::{template, verifiers, warn};

/// Opens a model folder or the last checkpoint of a run, and warns of guesses about its files. Without a path, this is
/// the built-in model, which `flowrl-cli pretrain` made.
pub fn open_model(path: Option<&Path>) -> Result<Checkpoint> {
    let Some(path) = path else {
        return Ok(Checkpoint::from_bytes(
            include_str!("../model/config.json"),
            include_bytes!("../model/model.safetensors"),
            include_str!("../model/tokenizer.json"),
        )?);
    };
    let path = &checkpoint_of(path)?;
    let checkpoint = Checkpoint::open(path).with_context(|| format!("cannot open the model {}", path.display()))?;
    for remark in checkpoint.remarks() {
        warn!("{}: {remark}", path.display());
    }
    Ok(checkpoint)
}

/// Returns the last checkpoint of a run directory, the best one for `RUN/best`, and any other path unchanged.
pub fn checkpoint_of(path: &Path) -> Result<PathBuf> {
    if let Some(run) = path.parent().filter(|_| path.ends_with(BEST) && !path.exists()).and_then(run_of) {
        return best_of(&run);
    }
    let Some(run) = run_of(path) else { return Ok(path.to_owned()) };
    match run.latest_checkpoint()? {
        Some((_, checkpoint)) => Ok(checkpoint),
        None => bail!("the run {} has no checkpoint yet", path.display()),
    }
}

fn best_of(run: &RunDir) -> Result<PathBuf> {
    let root = run.root().display();
    let Some(best) = Best::read(run)? else {
        bail!("the run {root} keeps no best checkpoint: run.best names no metric; use {root} for its last checkpoint")
    };
    let found = best.found.with_context(|| format!("the run {root} has no best checkpoint yet"))?;
    Ok(run.checkpoint(&name_of(found.step))?.1)
}

/// Returns the run in a directory, or `None` if the directory is a model folder or no run.
pub fn run_of(path: &Path) -> Option<RunDir> {
    if path.join("config.json").exists() { None } else { RunDir::open(path).ok() }
}

/// A model with its prompts, as a configuration names them.
#[derive(Debug)]
pub struct Session {
    /// The model's files.
    pub origin: Checkpoint,
    /// Prompts to train on and to evaluate on.
    pub tasks: Tasks,
    /// Stored completions to learn from instead of sampling.
    pub stored: Option<StoredRollouts>,
    /// Standard error and remarks of the verifier's workers.
    pub log: Log,
}

impl Session {
    /// Opens the files that a configuration names, and lowers `sampling.max_tokens` to the room that the longest prompt
    /// leaves in the model's context.
    pub fn open(config: &mut Config) -> Result<Self> {
        let origin = open_model(config.model.path.as_deref())?;
        if origin.end_tokens()?.is_empty() && config.sampling.stop.is_empty() {
            bail!(
                "nothing ends a completion of this model: neither config.json, generation_config.json nor \
                 tokenizer_config.json names an end token; add `eos_token_id` to its generation_config.json, or give a text with --stop"
            );
        }
        let log = Log::default();
        let tasks = Tasks::open(config, &origin, &log)?;
        tasks.fit_context(config, &origin)?;
        let stored = match &config.train.rollouts {
            Some(path) => Some(StoredRollouts::read(path, &tasks.train, origin.config().max_position_embeddings)?),
            None => None,
        };
        let session = Self { origin, tasks, stored, log };
        session.frozen_log_z(config)?;
        session.warn_of_table(config)?;
        Ok(session)
    }

    /// Warns if most prompts are drawn too seldom to learn a log Z for each.
    fn warn_of_table(&self, config: &Config) -> Result<()> {
        let prompts = self.stored.as_ref().map_or(self.tasks.train.prompts(), StoredRollouts::prompts);
        let drawn = config.train.steps as usize * config.train.prompts;
        if config.objective()?.log_z() == Some(LogZ::Table) && drawn < 2 * prompts {
            warn!(
                "objective.log_z = \"table\" learns one number for each of {prompts} prompts, but this run draws only {drawn}: few are drawn \
                 twice; \"group-mean\" does not need a second draw"
            );
        }
        Ok(())
    }

    /// Returns the log Z of every prompt from its row, if the objective takes log Z as a constant.
    pub fn frozen_log_z(&self, config: &Config) -> Result<Option<Vec<f64>>> {
        if config.objective()?.log_z() != Some(LogZ::Frozen) {
            return Ok(None);
        }
        let train = &self.tasks.train;
        if train.is_generated() || self.stored.is_some() {
            bail!(
                "objective.log_z = \"frozen\" takes the log Z of each prompt from its row in the file of task.prompts, and this run has no \
                 such rows; \"group-mean\" and \"table\" need none"
            );
        }
        let of = |i| {
            let row = train.row(i);
            row.log_z.as_f64().with_context(|| {
                let (line, got) = (row.origin.line, &row.log_z);
                format!("line {line} of the prompts: `log_z` is {got}, but objective.log_z = \"frozen\" needs a number in every row")
            })
        };
        (0..train.prompts()).map(of).collect::<Result<Vec<_>>>().map(Some)
    }
}

/// The prompts to train on, and those held out.
#[derive(Debug)]
pub struct Tasks {
    /// Prompts to train on.
    pub train: TextTask,
    /// Prompts for evaluation, set by set, as [`Config::measured_sets`] names them.
    pub held_out: Vec<HeldOut>,
}

/// A set of prompts for evaluation.
#[derive(Debug)]
pub struct HeldOut {
    /// Name of the set, if it has one.
    pub name: Option<String>,
    /// File of the prompts, if they are not generated.
    path: Option<PathBuf>,
    /// The prompts.
    pub task: TextTask,
}

impl HeldOut {
    /// Returns the number of prompts that an evaluation of at most `limit` prompts measures.
    pub fn measured(&self, limit: usize) -> usize {
        self.task.prompts().min(limit)
    }
}

impl Tasks {
    /// Opens the prompts that a configuration names.
    pub fn open(config: &mut Config, checkpoint: &Checkpoint, log: &Log) -> Result<Self> {
        let text = Text::of(checkpoint)?.with_stop(config.sampling.stop.clone())?;
        template::fix_date(&mut config.model.template, &text);
        let text = text.with_template_options(template::options(&config.model.template)?);
        let has_unnamed = config.measured_sets().contains(&None);
        let (task, sets) = (&mut config.task, &config.eval.sets);
        let keys = RowKeys { prompt: task.prompt_key.clone(), answer: task.answer_key.clone() };
        let open = |rows, path: &Path, verifier| {
            TextTask::new(text.clone(), rows, verifier).map_err(|error| error.in_file(path))
        };
        let named = |verifier: &dyn Fn() -> Box<dyn Verifier>| {
            let sets = sets.iter().map(|(name, path)| {
                let task = open(read_prompts(path, &keys)?, path, verifier())?;
                Ok(HeldOut { name: Some(name.clone()), path: Some(path.clone()), task })
            });
            sets.collect::<Result<Vec<_>>>()
        };
        match task.kind {
            TaskKind::Countdown => {
                let problems = Arc::new(Problems::generate(&ProblemSpec {
                    counts: task.numbers.clone(),
                    max_number: task.max_number,
                    targets: 1..=task.max_target,
                    seed: task.seed,
                })?);
                if !config.sampling.stop.is_empty() {
                    warn!(
                        "the exact measures of Countdown are left out: they count answers that end with an end token, and --stop ends \
                         some without one"
                    );
                }
                let generated = |held_out| {
                    TextTask::countdown(text.clone(), Arc::clone(&problems), held_out).context(
                        "the model's tokenizer cannot encode Countdown problems; give it other prompts with --prompts",
                    )
                };
                let mut held_out = named(&|| Box::new(verify::Countdown))?;
                if has_unnamed {
                    held_out.insert(0, HeldOut { name: None, path: None, task: generated(true)? });
                }
                template::tell(&text, rows_of(&held_out));
                Ok(Self { train: generated(false)?, held_out })
            }
            _ => {
                let path = task.prompts.clone().context("task.kind is prompts, so give a file with --prompts")?;
                if task.verifier.is_empty() {
                    warn!(
                        "completions are judged by `exact`: apart from white space at the ends, the whole completion must equal \
                         the row's answer; choose another verifier with --verifier"
                    );
                }
                if task.verifier.is_empty() {
                    task.verifier.push("exact".into());
                }
                let verifier = verifiers::open(&task.verifier, config.run.python.clone(), config.allows_code, log)?;
                let rows = read_prompts(&path, &keys)?;
                let (train, unnamed) = match &task.held_out {
                    Some(file) => (rows, read_prompts(file, &keys)?),
                    None if has_unnamed => every_tenth(rows),
                    None => (rows, Vec::new()),
                };
                let verifier = || -> Box<dyn Verifier> { Box::new(Arc::clone(&verifier)) };
                let mut held_out = named(&verifier)?;
                if has_unnamed {
                    let path = task.held_out.as_ref().unwrap_or(&path);
                    let task = open(unnamed, path, verifier())?;
                    held_out.insert(0, HeldOut { name: None, path: Some(path.clone()), task });
                }
                template::tell(&text, train.iter().chain(rows_of(&held_out)));
                Ok(Self { train: open(train, &path, verifier())?, held_out })
            }
        }
    }

    /// Returns the number of tokens in the longest prompt.
    pub fn longest_prompt(&self) -> usize {
        self.longest().0
    }

    /// Returns the number of tokens in the longest prompt, its line (0 if it is from no file), and its set if it is held
    /// out.
    fn longest(&self) -> (usize, usize, Option<&HeldOut>) {
        let longest = |task: &TextTask, held_out| {
            // Generated problems have similar lengths, and there are too many to encode all of them.
            let count = if task.is_generated() { task.prompts().min(64) } else { task.prompts() };
            let prompts = (0..count).map(|i| (task.prompt(i).len(), task.row(i).origin.line, held_out));
            prompts.max_by_key(|(len, ..)| *len)
        };
        let held_out = self.held_out.iter().map(|set| longest(&set.task, Some(set)));
        let all = std::iter::once(longest(&self.train, None)).chain(held_out);
        all.flatten().max_by_key(|(len, ..)| *len).unwrap_or((1, 0, None))
    }

    /// Checks that every prompt leaves room for a completion in the model's context, and lowers `sampling.max_tokens`
    /// to this room if it was not given.
    fn fit_context(&self, config: &mut Config, origin: &Checkpoint) -> Result<()> {
        let context = origin.config().max_position_embeddings;
        let (prompt, line, held_out) = self.longest();
        let left = context.saturating_sub(prompt);
        let wanted = config.max_tokens();
        if left == 0 || (config.sampling.max_tokens.is_some() && wanted > left) {
            let file = held_out.map_or(config.task.prompts.as_ref(), |set| set.path.as_ref());
            let place = match (file, line) {
                (Some(path), 1..) => format!("{}:{line}: the prompt", path.display()),
                _ => "a prompt".to_owned(),
            };
            bail!(
                "{place} has {prompt} tokens, and sampling.max_tokens is {wanted}: together more than the {context} positions of the \
                 model's context; shorten or remove the prompt{}",
                if left > 0 { format!(", or lower --max-tokens to {left} or less") } else { String::new() }
            );
        }
        config.sampling.max_tokens = Some(wanted.min(left));
        Ok(())
    }
}

/// Returns the rows of sets whose prompts were given.
fn rows_of(sets: &[HeldOut]) -> impl Iterator<Item = &PromptRow> {
    let given = sets.iter().map(|set| &set.task).filter(|task| !task.is_generated());
    given.flat_map(|task| (0..task.prompts()).map(|i| task.row(i)))
}

/// Holds out the 1st, 11th, 21st, … row. A single row is used for both training and evaluation.
fn every_tenth(rows: Vec<PromptRow>) -> (Vec<PromptRow>, Vec<PromptRow>) {
    if rows.len() < 2 {
        return (rows.clone(), rows);
    }
    let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(i, _)| i % 10 == 0);
    let rows = |pairs: Vec<(usize, PromptRow)>| pairs.into_iter().map(|(_, row)| row).collect();
    (rows(train), rows(held_out))
}
