//! Opens the model, the tokenizer and the prompts that a configuration names.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use flowrl_core::objective::LogZ;
use flowrl_core::task::Task;
use flowrl_core::train::{Part, PromptOrder};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::countdown::{ProblemSpec, Problems};
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::task::{LongPrompts, Text, TextTask};
use flowrl_lm::verify::{self, Verifier};
use flowrl_verify::Log;

use crate::config::{Config, TaskKind, TaskSection};
use crate::data::{Keys, add_system, read_prompts};
use crate::run_dir::best::{BEST, Best};
use crate::run_dir::{RunDir, name_of};
use crate::stored::StoredRollouts;
use crate::{note, template, verifiers, warn};

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
    /// Standard error of the verifier's workers.
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
                let (place, got) = (&row.origin, &row.log_z);
                format!("{place}: `log_z` is {got}, but objective.log_z = \"frozen\" needs a number in every row")
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
    /// The parts of `train` that an epoch visits at different rates; empty if it visits every prompt once.
    pub parts: Vec<Part>,
}

/// A set of prompts for evaluation.
#[derive(Debug)]
pub struct HeldOut {
    /// Name of the set, if it has one.
    pub name: Option<String>,
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
        let task = &mut config.task;
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
                let mut held_out = named(config, &text, &|| Box::new(verify::Countdown))?;
                if has_unnamed {
                    held_out.insert(0, HeldOut { name: None, task: generated(true)? });
                }
                template::tell(&text, rows_of(&held_out));
                Ok(Self { train: generated(false)?, held_out, parts: Vec::new() })
            }
            _ => {
                anyhow::ensure!(!task.prompts.is_empty(), "task.kind is prompts, so give a file with --prompts");
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
                let rows = Rows::read(task, has_unnamed)?;
                let verifier = || -> Box<dyn Verifier> { Box::new(Arc::clone(&verifier)) };
                let mut held_out = named(config, &text, &verifier)?;
                if has_unnamed {
                    let task = TextTask::new(text.clone(), rows.held_out, verifier())?;
                    held_out.insert(0, HeldOut { name: None, task });
                }
                template::tell(&text, rows.train.iter().chain(rows_of(&held_out)));
                let mut train = TextTask::new(text.clone(), rows.train, verifier())?;
                let context = checkpoint.config().max_position_embeddings;
                let dropped = limit(&mut train, config, context, "to train on")?;
                for set in &mut held_out {
                    let which = set.name.as_ref().map_or("held out".to_owned(), |name| format!("of the set {name}"));
                    limit(&mut set.task, config, context, &which)?;
                }
                let kept = (0..rows.source.len()).filter(|i| dropped.binary_search(i).is_err()).map(|i| rows.source[i]);
                let parts = parts(config, &kept.collect::<Vec<_>>())?;
                Ok(Self { train, held_out, parts })
            }
        }
    }

    /// Returns the number of tokens in the longest prompt.
    pub fn longest_prompt(&self) -> usize {
        self.longest().0
    }

    /// Returns the number of tokens in the longest prompt, and its place (empty if it is from no file).
    fn longest(&self) -> (usize, String) {
        let longest = |task: &TextTask| {
            // Generated problems have similar lengths, and there are too many to encode all of them.
            let count = if task.is_generated() { task.prompts().min(64) } else { task.prompts() };
            let longest = (0..count).max_by_key(|&i| task.prompt(i).len());
            longest.map(|i| (task.prompt(i).len(), task.row(i).origin.to_string()))
        };
        let all = std::iter::once(&self.train).chain(self.held_out.iter().map(|set| &set.task));
        all.filter_map(longest).max_by_key(|(len, _)| *len).unwrap_or((1, String::new()))
    }

    /// Checks that every prompt leaves room for a completion in the model's context, and lowers `sampling.max_tokens`
    /// to this room if it was not given.
    fn fit_context(&self, config: &mut Config, origin: &Checkpoint) -> Result<()> {
        let context = origin.config().max_position_embeddings;
        let (prompt, place) = self.longest();
        let left = context.saturating_sub(prompt);
        let wanted = config.max_tokens();
        if left == 0 || (config.sampling.max_tokens.is_some() && wanted > left) {
            let place = if place.is_empty() { "a prompt".to_owned() } else { format!("{place}: the prompt") };
            bail!(
                "{place} has {prompt} tokens, and sampling.max_tokens is {wanted}: together more than the {context} positions of the \
                 model's context; shorten or remove the prompt, or let --long-prompts drop or truncate it{}",
                if left > 0 { format!(", or lower --max-tokens to {left} or less") } else { String::new() }
            );
        }
        config.sampling.max_tokens = Some(wanted.min(left));
        Ok(())
    }
}

/// Opens the named sets of a configuration.
fn named(config: &Config, text: &Text, verifier: &dyn Fn() -> Box<dyn Verifier>) -> Result<Vec<HeldOut>> {
    let open = |(name, path): (&String, &PathBuf)| {
        let task = TextTask::new(text.clone(), read_rows(path, &config.task)?, verifier())?;
        Ok(HeldOut { name: Some(name.clone()), task })
    };
    config.eval.sets.iter().map(open).collect()
}

/// Returns the rows of sets whose prompts were given.
fn rows_of(sets: &[HeldOut]) -> impl Iterator<Item = &PromptRow> {
    let given = sets.iter().map(|set| &set.task).filter(|task| !task.is_generated());
    given.flat_map(|task| (0..task.prompts()).map(|i| task.row(i)))
}

/// The rows that a configuration names.
struct Rows {
    train: Vec<PromptRow>,
    /// The number of the file of each row in `train`.
    source: Vec<usize>,
    held_out: Vec<PromptRow>,
}

/// Reads the prompts of a file, with the system message of the task.
fn read_rows(path: &Path, task: &TaskSection) -> Result<Vec<PromptRow>> {
    let keys = Keys { prompt: task.prompt_key.clone(), answer: task.answer_key.clone() };
    let mut rows = read_prompts(path, &keys)?;
    task.system.as_ref().map_or(Ok(()), |system| add_system(&mut rows, system))?;
    Ok(rows)
}

impl Rows {
    /// Reads the rows to train on, and those of the set without a name if it `has_unnamed`.
    fn read(task: &TaskSection, has_unnamed: bool) -> Result<Self> {
        let mut rows = Vec::new();
        for (number, source) in task.prompts.iter().enumerate() {
            if task.prompts[..number].iter().any(|other| other.path == source.path) {
                bail!("{} is named twice; give it a weight instead: {0},weight=2", source.path.display());
            }
            rows.extend(read_rows(&source.path, task)?.into_iter().map(|row| (number, row)));
        }
        let (train, held_out) = match &task.held_out {
            Some(file) => (rows, read_rows(file, task)?),
            None if !has_unnamed => (rows, Vec::new()),
            None => {
                let (train, held_out) = every_tenth(rows);
                (train, held_out.into_iter().map(|(_, row)| row).collect())
            }
        };
        let (source, train): (Vec<usize>, Vec<PromptRow>) = train.into_iter().unzip();
        let rows = Self { train, source, held_out };
        rows.tell_of_common_prompts();
        Ok(rows)
    }

    /// Warns if prompts to train on are held out too. A single row, or the same rows for both, is on purpose.
    fn tell_of_common_prompts(&self) {
        let text = |row: &PromptRow| serde_json::to_string(&row.prompt).unwrap_or_default();
        let held_out: HashSet<String> = self.held_out.iter().map(text).collect();
        let common = self.train.iter().filter(|row| held_out.contains(&text(row))).count();
        if common > 0 && common < self.train.len() {
            warn!(
                "{common} of the {} prompts to train on are also held out, so the evaluation measures what was trained; \
                 remove repeated prompts",
                self.train.len()
            );
        }
    }
}

/// Treats the long prompts of a task as the configuration says, and reports them. Returns the numbers of those that were
/// dropped.
fn limit(task: &mut TextTask, config: &Config, context: usize, which: &str) -> Result<Vec<usize>> {
    let policy = config.task.long_prompts;
    let limit = match config.task.max_prompt_tokens {
        Some(limit) => limit,
        None if policy == LongPrompts::Error => return Ok(Vec::new()),
        None => context.saturating_sub(config.max_tokens()).max(1),
    };
    let all = task.prompts();
    let long = task.limit_prompts(limit, policy)?;
    if long.is_empty() {
        return Ok(long);
    }
    let what = format!("{} of {all} prompts {which} have more than {limit} tokens and", long.len());
    if policy == LongPrompts::Truncate {
        note!("{what} are truncated: only their last {limit} tokens are kept");
        return Ok(Vec::new());
    }
    note!("{what} are dropped");
    if task.prompts() == 0 {
        bail!("{what} are dropped, so none is left; raise --max-prompt-tokens");
    }
    Ok(long)
}

/// Returns the parts of the prompts to train on, given the file of each, if the files have different weights.
fn parts(config: &Config, sources: &[usize]) -> Result<Vec<Part>> {
    let files = &config.task.prompts;
    if files.iter().all(|file| file.weight == 1.0) {
        return Ok(Vec::new());
    }
    if config.train.prompt_order != PromptOrder::Shuffled {
        bail!(
            "the weights of --prompts need train.prompt_order = \"shuffled\": pass rates choose prompts by themselves"
        );
    }
    if config.train.rollouts.is_some() {
        warn!("the weights of --prompts are ignored: with --rollouts, nothing is sampled");
        return Ok(Vec::new());
    }
    let part = |number: usize| {
        let prompts = sources.iter().filter(|&&source| source == number).count();
        let visits = ((prompts as f64 * files[number].weight).round() as usize).max(prompts.min(1));
        Part { prompts, visits }
    };
    let parts: Vec<Part> = (0..files.len()).map(part).collect();
    let all: usize = parts.iter().map(|part| part.visits).sum();
    for (file, part) in files.iter().zip(&parts) {
        let share = 100.0 * part.visits as f64 / all as f64;
        note!(
            "an epoch visits the {} prompts of {} {} times: {share:.0} % of it",
            part.prompts,
            file.path.display(),
            part.visits
        );
    }
    Ok(parts)
}

/// Holds out the 1st, 11th, 21st, … row. A single row is used for both training and evaluation.
fn every_tenth<T: Clone>(rows: Vec<T>) -> (Vec<T>, Vec<T>) {
    if rows.len() < 2 {
        return (rows.clone(), rows);
    }
    let (held_out, train): (Vec<_>, Vec<_>) = rows.into_iter().enumerate().partition(|(i, _)| i % 10 == 0);
    let rows = |pairs: Vec<(usize, T)>| pairs.into_iter().map(|(_, row)| row).collect();
    (rows(train), rows(held_out))
}
