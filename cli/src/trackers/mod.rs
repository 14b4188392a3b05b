//! Experiment trackers: programs that show the records of many runs. TensorBoard's files are written here; W&B, trackio and MLflow get the
//! records through a process in Python.

mod events;
mod worker;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use flowrl_core::metrics::{self, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use toml::Table;

use crate::config::{Config, RunSection};
use crate::metrics::{Record, Value, of_error};
use crate::python::Python;
use crate::run::provenance::{Provenance, Stretch};
use crate::run_dir::RunDir;
use crate::{progress, signals, warn};
use events::{EventFile, Scalar};
use worker::{End, SCRIPT, Worker};

/// How long the end of a run waits for trackers that upload.
const PATIENCE: Duration = Duration::from_secs(30);

/// An experiment tracker by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Tracker {
    /// Event files of TensorBoard.
    Tensorboard,
    /// Weights & Biases.
    Wandb,
    /// trackio, of Hugging Face.
    Trackio,
    /// MLflow.
    Mlflow,
}

impl Tracker {
    /// The Python module that it is, if it is one; the package on PyPI bears the same name.
    const fn module(self) -> Option<&'static str> {
        match self {
            Self::Tensorboard => None,
            Self::Wandb => Some("wandb"),
            Self::Trackio => Some("trackio"),
            Self::Mlflow => Some("mlflow"),
        }
    }
}

/// The Python modules of the trackers of a run, each once.
fn modules(run: &RunSection) -> Vec<&'static str> {
    let mut modules = Vec::new();
    for module in run.tracker.iter().filter_map(|tracker| tracker.module()) {
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    modules
}

/// Refuses a run whose trackers are not installed.
///
/// # Errors
/// What is missing, and how to get it.
pub(crate) fn check(run: &RunSection) -> Result<()> {
    let modules = modules(run);
    if modules.is_empty() {
        if run.python.is_some() {
            warn!("run.python (--python) is not used: no tracker of this run needs Python");
        }
        return Ok(());
    }
    let python = Python::find(run.python.as_deref())?;
    modules.into_iter().try_for_each(|module| python.require(module))
}

/// The trackers of a run under way.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    events: Option<EventFile>,
    workers: Vec<Worker>,
}

impl Trackers {
    /// Begins or goes on after the record of step `last`.
    ///
    /// # Errors
    /// A file that cannot be written, a damaged `run.json`.
    pub(crate) fn open(config: &Config, directory: &RunDir, last: Option<u64>) -> Result<Self> {
        let run = &config.run;
        if run.tracker.is_empty() {
            return Ok(Self::default());
        }
        let Provenance { stretches } = Provenance::read(directory)?;
        let (first, now) = stretches.first().zip(stretches.last()).context("run.json has nothing of this run")?;
        let from = last.map_or(0, |step| step + 1);
        let events = match run.tracker.contains(&Tracker::Tensorboard) {
            true => Some(begin_events(directory, now, from)?),
            false => None,
        };
        let begin = begin(directory, first, now)?;
        let start = |module: &'static str| -> Result<Worker> {
            let log = directory.root().join(format!("tracker-{module}.log"));
            let mut begin = begin.clone();
            begin["tracker"] = module.into();
            Worker::start(Python::find(run.python.as_deref())?.command(SCRIPT), module, &log, &begin)
        };
        Ok(Self { events, workers: modules(run).into_iter().map(start).collect::<Result<_>>()? })
    }

    /// Hands over a record.
    ///
    /// # Errors
    /// An event file that cannot be written.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let Some(step) = record.step() else { return Ok(()) };
        if let Some(events) = &mut self.events {
            let scalar = |(name, value)| Scalar { tag: tag(name), description: describe(name), value };
            events.scalars(step, numbers(record).map(scalar))?;
        }
        if !self.workers.is_empty() {
            // JSON has no NaN: null.
            let values: serde_json::Map<String, Json> =
                numbers(record).map(|(name, value)| (tag(name), value.into())).collect();
            let line = json!({ "step": step, "values": values });
            self.workers.iter_mut().for_each(|worker| worker.send(&line));
        }
        Ok(())
    }

    /// Ends the run, waits a while for what is still under way, and says what a tracker lacks.
    pub(crate) fn finish(&mut self, is_stopped: bool) {
        let last = json!({ "status": if is_stopped { "stopped" } else { "finished" } });
        let (start, stop) = (Instant::now(), signals::stop());
        let mut open: Vec<&mut Worker> = self.workers.iter_mut().collect();
        // All are told first, so that they hand over what they have at the same time.
        for wait in [Duration::ZERO, Duration::from_secs(2), PATIENCE] {
            if let (PATIENCE, Some(worker)) = (wait, open.first()) {
                let (name, seconds) = (worker.name, PATIENCE.as_secs());
                progress::note(&format_args!("waiting for {name} to hand over the last records, {seconds} s at most"));
            }
            open.retain_mut(|worker| match worker.finish(&last, start + wait, stop) {
                End::Left => true,
                end => {
                    worker.tell(&end);
                    false
                }
            });
        }
        open.iter().for_each(|worker| worker.tell(&End::Left));
    }
}

/// Begins an event file, with what the run is as text.
fn begin_events(directory: &RunDir, now: &Stretch, from: u64) -> Result<EventFile> {
    let folder = directory.root().join("tensorboard");
    let mut events = EventFile::create(&folder, now.host.as_deref().unwrap_or("localhost"), from)?;
    let code = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    events.text(from, "command", &code(&now.command.join(" ")))?;
    events.text(from, "config", &code(&now.config))?;
    Ok(events)
}

/// What a tracker in Python is told first.
fn begin(directory: &RunDir, first: &Stretch, now: &Stretch) -> Result<Json> {
    let root = std::path::absolute(directory.root())?;
    let mut config = serde_json::to_value(now.config.parse::<Table>()?)?;
    config["command"] = now.command.join(" ").into();
    Ok(json!({
        "project": "flowrl",
        "name": root.file_name().map_or_else(|| "run".into(), |name| name.to_string_lossy()),
        "directory": root,
        "id": id(first)?,
        "config": config,
    }))
}

/// The run's id, the same whenever it is resumed.
fn id(first: &Stretch) -> Result<String> {
    let hash = Sha256::digest(serde_json::to_vec(first)?);
    Ok(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// The numbers of a record but for its step.
fn numbers(record: &Record) -> impl Iterator<Item = (&str, f64)> {
    record.iter().filter_map(|(name, value)| match value {
        Value::Number(number) if name != "step" => Some((name, *number)),
        _ => None,
    })
}

/// The name of a metric in a tracker, in one of four groups: `eval_NAME` becomes `eval/NAME`, and what else evaluations measure, the lab's
/// exact numbers, `exact/NAME`.
fn tag(name: &str) -> String {
    if let Some(rest) = name.strip_prefix("eval_") {
        return format!("eval/{rest}");
    }
    let group = match metrics::get(name) {
        Some(metric) if metric.source == Source::Clock => "time",
        Some(metric) if metric.evaluated => "exact",
        _ => "train",
    };
    format!("{group}/{name}")
}

/// What the table of metrics says of one.
fn describe(name: &str) -> String {
    match (metrics::get(name), of_error(name)) {
        (Some(metric), _) if metric.unit.is_empty() => format!("{}: {}", metric.label, metric.meaning),
        (Some(metric), _) => format!("{} ({}): {}", metric.label, metric.unit, metric.meaning),
        (None, Some(metric)) => format!("Standard error over prompts of: {}", metric.label),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_unique_and_in_four_groups() {
        let tags: Vec<String> = metrics::all().map(|metric| tag(metric.name)).collect();
        for (i, tag) in tags.iter().enumerate() {
            assert!(!tags[..i].contains(tag), "{tag}");
            assert!(["train/", "eval/", "exact/", "time/"].iter().any(|group| tag.starts_with(group)), "{tag}");
        }
        for (name, wanted) in [
            ("loss", "train/loss"),
            ("eval_success", "eval/success"),
            ("eval_success_se", "eval/success_se"),
            ("tv", "exact/tv"),
            ("step_s", "time/step_s"),
            ("no_such_metric", "train/no_such_metric"),
        ] {
            assert_eq!(tag(name), wanted);
        }
        assert!(describe("eval_success_se").starts_with("Standard error over prompts of: Success, sampled"));
        assert!(describe("tokens_per_s").contains("(tokens/s): Tokens of prompts"));
    }
}
