//! Flags that several commands share.

use std::path::PathBuf;

use anyhow::Result;
use toml::Value;

use crate::config::{Config, TaskKind};
use crate::device::{DeviceName, Precision};

/// Flags that make up a configuration: defaults < `--config` < `--set` < the other flags.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConfigArgs {
    /// Configuration in TOML; a run's own config.toml replays that run
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
    /// Hugging Face folder of the model; without it, the small model in this program
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Prompts in JSONL; without it, generated Countdown problems
    #[arg(long, value_name = "FILE")]
    pub prompts: Option<PathBuf>,
    /// How completions of `--prompts` are judged: countdown, exact or number
    #[arg(long, value_name = "NAME")]
    pub verifier: Option<String>,
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
            push("model.path", path(model)?);
        }
        if let Some(prompts) = &self.prompts {
            push("task.prompts", path(prompts)?);
        }
        if let Some(verifier) = &self.verifier {
            push("task.verifier", Value::String(verifier.clone()));
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
        Config::load(self.config.as_deref().or(base), &settings)
    }
}
