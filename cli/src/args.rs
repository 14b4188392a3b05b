//! Flags that several commands share.

use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use toml::Value;

use crate::config::{Config, TaskKind};
use crate::device::{DeviceName, Precision};
use crate::warn;

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
    /// Prompts in JSONL (default: generated Countdown problems)
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Prompts for evaluation in JSONL (default: every tenth of `--prompts`)
    #[arg(long, value_name = "FILE")]
    pub held_out: Option<PathBuf>,
    /// Key of the prompt in each line (default: `prompt`)
    #[arg(long, value_name = "KEY")]
    pub prompt_key: Option<String>,
    /// Key of the answer in each line; a dot descends into an object (default: `answer`)
    #[arg(long, value_name = "KEY")]
    pub answer_key: Option<String>,
    /// Verifier that judges completions of `--prompts`: countdown, exact or number (default: exact)
    #[arg(long, value_name = "NAME")]
    pub verifier: Option<String>,
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

impl ConfigArgs {
    /// Adds the setting `key=path`, with the path made absolute.
    ///
    /// # Errors
    /// Returns an error if the path is empty.
    pub fn set_path(&mut self, key: &str, path: &std::path::Path) -> Result<()> {
        let absolute = Value::String(std::path::absolute(path)?.to_string_lossy().into_owned());
        self.settings.push(format!("{key}={absolute}"));
        Ok(())
    }

    /// Builds the configuration from these flags, starting from the file `base` if there is no `--config`.
    ///
    /// # Errors
    /// Returns an error that names the file or flag that is wrong.
    pub fn load(&self, base: Option<&std::path::Path>) -> Result<Config> {
        self.resolve(base).map_err(Usage::of)
    }

    fn resolve(&self, base: Option<&std::path::Path>) -> Result<Config> {
        let mut settings = self.settings.clone();
        let mut push = |key: &str, value: Value| settings.push(format!("{key}={value}"));
        let path = |path: &PathBuf| -> Result<Value> {
            Ok(Value::String(std::path::absolute(path)?.to_string_lossy().into_owned()))
        };
        if let Some(task) = self.task.or(self.prompts.is_some().then_some(TaskKind::Prompts)) {
            push("task.kind", Value::String(task.name().into()));
        }
        if let Some(name) = &self.objective {
            push("objective", Value::String(name.clone()));
        }
        if let Some(model) = &self.model {
            push("model.path", path(&crate::session::checkpoint_of(model)?)?);
        }
        for (key, file) in [("task.prompts", &self.prompts), ("task.held_out", &self.held_out)] {
            if let Some(file) = file {
                push(key, path(file)?);
            }
        }
        let names = [
            ("task.verifier", &self.verifier),
            ("task.prompt_key", &self.prompt_key),
            ("task.answer_key", &self.answer_key),
        ];
        for (key, name) in names {
            if let Some(name) = name {
                push(key, Value::String(name.clone()));
            }
        }
        if !self.stop.is_empty() {
            push("sampling.stop", Value::Array(self.stop.iter().cloned().map(Value::String).collect()));
        }
        for (key, number) in [("sampling.max_tokens", self.max_tokens), ("train.samples", self.samples)] {
            if let Some(number) = number {
                push(key, Value::Integer(i64::try_from(number)?));
            }
        }
        if let Some(rate) = self.learning_rate {
            push("optimizer.learning_rate", Value::Float(rate));
        }
        if let Some(steps) = self.steps {
            push("train.steps", Value::Integer(i64::try_from(steps)?));
        }
        if let Some(seed) = self.seed {
            push("train.seed", Value::Integer(i64::try_from(seed)?));
        }
        if let Some(threads) = self.threads {
            push("train.threads", Value::Integer(i64::try_from(threads)?));
        }
        if let Some(device) = self.device {
            push("train.device", Value::String(device.into()));
        }
        if let Some(precision) = self.precision {
            push("train.precision", Value::try_from(precision)?);
        }
        let config = Config::load(self.config.as_deref().or(base), &settings)?;
        if config.task.kind != TaskKind::Prompts {
            let flags = [
                ("prompts", self.prompts.is_some()),
                ("verifier", self.verifier.is_some()),
                ("held-out", self.held_out.is_some()),
                ("prompt-key", self.prompt_key.is_some()),
                ("answer-key", self.answer_key.is_some()),
            ];
            for (flag, given) in flags {
                if given {
                    warn!(
                        "--{flag} is ignored: it belongs to task prompts, but this run's task is {}",
                        config.task.kind
                    );
                }
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
