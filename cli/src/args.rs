//! Flags that several commands share.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use flowrl_lm::task::LongPrompts;
use flowrl_verify::python;
use serde::Serialize;
use toml::Value;

use crate::config::{Config, Sets, TaskKind};
use crate::data::{self, Source};
use crate::device::{DeviceName, Precision};
use crate::metrics::sets::check_name;
use crate::session::checkpoint_of;
use crate::verifiers::{self, VerifierArgs};
use crate::{input, warn};

/// The flags that make up a configuration, with the precedence defaults < `--config` < `--set` < the other flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration in TOML; a run's config.toml replays that run; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one option as `section.key=value`, or `key=value` if only one section has the key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Task to learn (default: countdown)
    #[arg(long, value_name = "NAME")]
    pub task: Option<TaskKind>,
    /// Objective: a preset (paper, vargrad, exact-tb, …) or a baseline (grpo, ppo, …)
    #[arg(long, visible_alias = "preset", value_name = "NAME")]
    pub objective: Option<String>,
    /// Model: a Hugging Face folder, a run (its last checkpoint) or RUN/best (default: the small built-in model)
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Prompts in JSONL, JSON, CSV, Parquet or Arrow, or a folder of `datasets`; may be repeated, with `,weight=W` (default:
    /// generated Countdown problems)
    #[arg(long, value_name = "FILE")]
    pub prompts: Vec<Source>,
    /// Prompts for evaluation, in the same formats (default: every tenth of `--prompts`)
    #[arg(long, value_name = "FILE")]
    pub held_out: Option<PathBuf>,
    /// Named prompts for evaluation, in the same formats, instead of every tenth of `--prompts`; may be repeated
    #[arg(long = "eval", value_name = "NAME=FILE", value_parser = named_file)]
    pub sets: Vec<(String, PathBuf)>,
    /// Key of the prompt in each row (default: `prompt`, or what the rows of known programs have)
    #[arg(long, value_name = "KEY")]
    pub prompt_key: Option<String>,
    /// Key of the answer in each row; a dot descends into an object (default: `answer`, or as above)
    #[arg(long, value_name = "KEY")]
    pub answer_key: Option<String>,
    /// System message before every conversation; @FILE reads it from a file
    #[arg(long, value_name = "TEXT")]
    pub system: Option<String>,
    /// Maximum number of tokens in a prompt (default: what --max-tokens leaves of the model's context)
    #[arg(long, value_name = "N")]
    pub max_prompt_tokens: Option<usize>,
    /// What happens to longer prompts: error, drop, or truncate, which keeps the end (default: error)
    #[arg(long, value_name = "POLICY", value_parser = data::long_prompts)]
    pub long_prompts: Option<LongPrompts>,
    /// The verifiers, and what they may use
    #[command(flatten)]
    pub judging: VerifierArgs,
    /// Maximum number of tokens in a completion
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// Text that ends a completion; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Completions per prompt in a step
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// Learning rate of the policy
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f64>,
    /// Training steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of all randomness
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; 0 means one per processor
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Device of a language model: cpu, cuda, cuda:N or emulated (default: cpu)
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,
    /// Number format of activations and weights on the device (default: bf16 on a GPU, f32 elsewhere)
    #[arg(long, value_enum, value_name = "NAME")]
    pub precision: Option<Precision>,
}

/// Reads `NAME=FILE`.
fn named_file(text: &str) -> Result<(String, PathBuf), String> {
    let (name, path) = text.split_once('=').ok_or("expected NAME=FILE, such as math500=math500.jsonl")?;
    check_name(name)?;
    if path.is_empty() {
        return Err(format!("expected a file after {name}="));
    }
    Ok((name.to_owned(), path.into()))
}

/// Makes the path of a flag absolute.
pub(crate) fn absolute(path: Option<&PathBuf>) -> Result<Option<String>> {
    let whole = path.map(std::path::absolute).transpose()?;
    Ok(whole.map(|path| path.to_string_lossy().into_owned()))
}

/// Returns a text, or for `@FILE` that of the file without its last line break.
fn text_or_file(text: &str) -> Result<String> {
    match text.strip_prefix('@') {
        Some(path) => input::text(path.as_ref()).map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
        None => Ok(text.to_owned()),
    }
}

impl ConfigArgs {
    /// Adds the setting `key=value`, if there is a value.
    pub fn set(&mut self, key: &str, value: Option<impl Serialize>) -> Result<()> {
        if let Some(value) = value {
            self.settings.push(format!("{key}={}", Value::try_from(value)?));
        }
        Ok(())
    }

    /// Builds the configuration from these flags, starting from the file `base` if there is no `--config`.
    pub fn load(&self, base: Option<&Path>) -> Result<Config> {
        self.resolve(base).map_err(Usage::of)
    }

    fn resolve(&self, base: Option<&Path>) -> Result<Config> {
        let mut all = Self { settings: self.settings.clone(), ..Self::default() };
        let model = self.model.as_ref().map(|model| checkpoint_of(model)).transpose()?;
        all.set("task.kind", self.task.or(self.prompts.first().map(|_| TaskKind::Prompts)))?;
        all.set("objective", self.objective.as_ref())?;
        all.set("model.path", absolute(model.as_ref())?)?;
        let folder = std::env::current_dir()?;
        let prompts: Vec<String> = self.prompts.iter().map(|source| source.in_folder(&folder).to_string()).collect();
        all.set("task.prompts", Some(prompts).filter(|prompts| !prompts.is_empty()))?;
        all.set("task.held_out", absolute(self.held_out.as_ref())?)?;
        let mut sets = Sets::new();
        for (name, path) in &self.sets {
            if sets.insert(name.clone(), std::path::absolute(path)?).is_some() {
                bail!("--eval gives two files of the name {name}: give one of them another name");
            }
        }
        all.set("eval.sets", Some(sets).filter(|sets| !sets.is_empty()))?;
        let verifiers = verifiers::absolute(&self.judging.verifier, &folder)?;
        all.set("task.verifier", Some(verifiers).filter(|names| !names.is_empty()))?;
        match &self.judging.python {
            Some(path) if python::is_path(&path.to_string_lossy()) => all.set("run.python", absolute(Some(path))?)?,
            name => all.set("run.python", name.as_ref())?,
        }
        all.set("task.prompt_key", self.prompt_key.as_ref())?;
        all.set("task.answer_key", self.answer_key.as_ref())?;
        all.set("task.system", self.system.as_deref().map(text_or_file).transpose()?)?;
        all.set("task.max_prompt_tokens", self.max_prompt_tokens)?;
        all.set("task.long_prompts", self.long_prompts)?;
        all.set("sampling.stop", Some(&self.stop).filter(|stop| !stop.is_empty()))?;
        all.set("sampling.max_tokens", self.max_tokens)?;
        all.set("train.samples", self.samples)?;
        all.set("optimizer.learning_rate", self.learning_rate)?;
        all.set("train.steps", self.steps)?;
        all.set("train.seed", self.seed)?;
        all.set("train.threads", self.threads)?;
        all.set("train.device", self.device)?;
        all.set("train.precision", self.precision)?;
        let settings: Vec<&str> = all.settings.iter().map(String::as_str).collect();
        let mut config = Config::load(self.config.as_deref().or(base), &settings)?;
        config.allows_code = self.judging.allow_code_execution;
        if config.task.kind != TaskKind::Prompts {
            let flags = [
                ("prompts", !self.prompts.is_empty()),
                ("verifier", !self.judging.verifier.is_empty()),
                ("held-out", self.held_out.is_some()),
                ("prompt-key", self.prompt_key.is_some()),
                ("answer-key", self.answer_key.is_some()),
                ("system", self.system.is_some()),
                ("max-prompt-tokens", self.max_prompt_tokens.is_some()),
                ("long-prompts", self.long_prompts.is_some()),
            ];
            for (flag, _) in flags.into_iter().filter(|(_, given)| *given) {
                warn!("--{flag} is ignored: it belongs to task prompts, but this run's task is {}", config.task.kind);
            }
        }
        Ok(config)
    }
}

/// A mistake in flags or in a configuration. It exits with status 2, like the mistakes that clap finds.
#[derive(Debug)]
pub(crate) struct Usage(anyhow::Error);

impl Usage {
    pub(crate) fn of(error: anyhow::Error) -> anyhow::Error {
        Self(error).into()
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.0)
    }
}

impl std::error::Error for Usage {}
