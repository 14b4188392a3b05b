//! Flags that several commands share.

use std::path::PathBuf;

use anyhow::Result;
use toml::Value;

use crate::command_line::Usage;
use crate::config::{Config, TaskKind};
use crate::device::{DeviceName, Precision};
use crate::warn;

/// Flags that make up a configuration: defaults < `--config` < `--set` < the other flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration in TOML; a run's own config.toml replays that run; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Set one option, `section.key=value`, or `key=value` where only one section has the key; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// What to learn; without it, countdown
    #[arg(long, value_name = "NAME")]
    pub task: Option<TaskKind>,
    /// A preset (paper, vargrad, exact-tb, …) or a baseline (grpo, ppo, …)
    #[arg(long, visible_alias = "preset", value_name = "NAME")]
    pub objective: Option<String>,
    /// Hugging Face folder of the model, or a run, whose last checkpoint is taken, or RUN/best; without it, the small model in this program
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Prompts in JSONL; without it, generated Countdown problems
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// Prompts for evaluation; without it, every tenth of `--prompts`
    #[arg(long, value_name = "FILE")]
    pub held_out: Option<PathBuf>,
    /// The key of a line that holds the prompt; without it, `prompt`
    #[arg(long, value_name = "KEY")]
    pub prompt_key: Option<String>,
    /// The key of a line that holds the answer, dots lead into objects; without it, `answer`
    #[arg(long, value_name = "KEY")]
    pub answer_key: Option<String>,
    /// How completions of `--prompts` are judged: countdown, exact or number; without it, exact
    #[arg(long, value_name = "NAME")]
    pub verifier: Option<String>,
    /// Tokens of a completion at most
    #[arg(long, value_name = "N")]
    pub max_tokens: Option<usize>,
    /// A text that ends a completion; may be repeated
    #[arg(long, value_name = "TEXT")]
    pub stop: Vec<String>,
    /// Completions of a prompt in a step
    #[arg(long, value_name = "N")]
    pub samples: Option<usize>,
    /// Learning rate of the policy
    #[arg(long, value_name = "X")]
    pub learning_rate: Option<f64>,
    /// Training steps
    #[arg(long, value_name = "N")]
    pub steps: Option<u64>,
    /// Seed of everything random
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads; 0 means one for each processor
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Where a language model runs: cpu, cuda, cuda:N or emulated; without it, cpu
    #[arg(long, value_name = "NAME")]
    pub device: Option<DeviceName>,
    /// How activations and weights are stored on the device; without it, bf16 on a GPU and f32 elsewhere
    #[arg(long, value_enum, value_name = "NAME")]
    pub precision: Option<Precision>,
}

impl ConfigArgs {
    /// Adds a setting that is a path.
    ///
    /// # Errors
    /// A path that is empty.
    pub fn set_path(&mut self, key: &str, path: &std::path::Path) -> Result<()> {
        let absolute = Value::String(std::path::absolute(path)?.to_string_lossy().into_owned());
        self.settings.push(format!("{key}={absolute}"));
        Ok(())
    }

    /// The configuration that these flags make, on top of `base` where there is no `--config`.
    ///
    /// # Errors
    /// A file or a flag that is wrong, named.
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
                        "--{flag} is not used: it belongs to the task prompts, and this run's is {}",
                        config.task.kind
                    );
                }
            }
        }
        Ok(config)
    }
}
