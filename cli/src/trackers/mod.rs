//! Experiment trackers, that is programs that show the records of many runs.
//!
//! This module writes TensorBoard's files itself. W&B, trackio and MLflow get the records through a Python process.

mod events;
mod worker;

use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result};
use flowrl_core::metrics::{self, Source};
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};
use toml::Table;

use crate::config::{Config, RunSection, Tracker};
use crate::metrics::{Record, get, of_error};
use crate::run_dir::RunDir;
use crate::run_dir::provenance::{Provenance, Stretch};
use crate::{note, signals, warn};
use events::{EventFile, Scalar};
use flowrl_verify::python::Python;
use worker::{End, SCRIPT, Worker};

/// How long a run waits at its end for trackers that are still uploading.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the Python modules of a run's trackers without duplicates. The packages on PyPI have the same names.
fn modules(run: &RunSection) -> Vec<&'static str> {
    let mut modules = Vec::new();
    for tracker in &run.tracker {
        let module = match tracker {
            Tracker::Tensorboard => continue,
            Tracker::Wandb => "wandb",
            Tracker::Trackio => "trackio",
            Tracker::Mlflow => "mlflow",
        };
        if !modules.contains(&module) {
            modules.push(module);
        }
    }
    modules
}

/// Checks that the trackers of a run are installed.
pub(crate) fn check(run: &RunSection) -> Result<()> {
    let modules = modules(run);
    if modules.is_empty() {
        if run.python.is_some() {
            warn!("run.python (--python) is not used: no tracker of this run needs Python");
        }
        return Ok(());
    }
    let python = Python::find(run.python.as_deref()).map_err(Error::from_boxed)?;
    modules.into_iter().try_for_each(|module| python.require(module).map_err(Error::from_boxed))
}

/// The open trackers of a run.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    events: Option<EventFile>,
    workers: Vec<Worker>,
}

impl Trackers {
    /// Opens the trackers of a run that has records up to step `last`, if it has any.
    pub(crate) fn open(config: &Config, directory: &RunDir, last: Option<u64>) -> Result<Self> {
        let run = &config.run;
        if run.tracker.is_empty() {
            return Ok(Self::default());
        }
        let Provenance { stretches } = Provenance::read(directory)?;
        let (first, now) = stretches.first().zip(stretches.last()).context("run.json has no entry for this run")?;
        let from = last.map_or(0, |step| step + 1);
        let has_events = run.tracker.contains(&Tracker::Tensorboard);
        let events = has_events.then(|| begin_events(directory, now, from)).transpose()?;
        let begin = begin(directory, first, now)?;
        let start = |module: &'static str| -> Result<Worker> {
            let log = directory.root().join(format!("tracker-{module}.log"));
            let mut begin = begin.clone();
            begin["tracker"] = module.into();
            {
                let python = Python::find(run.python.as_deref()).map_err(Error::from_boxed)?;
                Worker::start(python.command(SCRIPT), module, &log, &begin)
            }
        };
        Ok(Self { events, workers: modules(run).into_iter().map(start).collect::<Result<_>>()? })
    }

    /// Sends a record to the trackers.
    ///
    /// # Errors
    /// Returns an error if the event file cannot be written. A tracker in Python never causes one.
    pub(crate) fn record(&mut self, record: &Record) -> Result<()> {
        let Some(step) = record.step() else { return Ok(()) };
        let numbers = || record.numbers().filter(|(name, _)| *name != "step");
        if let Some(events) = &mut self.events {
            let scalar = |(name, value)| Scalar { tag: tag(name), description: describe(name), value };
            events.scalars(step, numbers().map(scalar))?;
        }
        if !self.workers.is_empty() {
            // JSON has no NaN; a value that is not finite becomes null.
            let values: serde_json::Map<String, Json> =
                numbers().map(|(name, value)| (tag(name), value.into())).collect();
            let line = json!({ "step": step, "values": values });
            self.workers.iter_mut().for_each(|worker| worker.send(&line));
        }
        Ok(())
    }

    /// Ends the run in all trackers, waits for pending uploads for a limited time, and warns of records that a tracker
    /// lacks.
    pub(crate) fn finish(&mut self, is_stopped: bool) {
        let last = json!({ "status": if is_stopped { "stopped" } else { "finished" } });
        let (start, stop) = (Instant::now(), signals::stop());
        let mut open: Vec<&mut Worker> = self.workers.iter_mut().collect();
        // The first pass only sends the end of the run to all workers, so that they upload in parallel.
        for wait in [Duration::ZERO, Duration::from_secs(2), PATIENCE] {
            if let (PATIENCE, Some(worker)) = (wait, open.first()) {
                let (name, seconds) = (worker.name, PATIENCE.as_secs());
                note!("waiting up to {seconds} s for {name} to upload the last records");
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

/// Creates an event file that starts with the command and the configuration of the run as text.
fn begin_events(directory: &RunDir, now: &Stretch, from: u64) -> Result<EventFile> {
    let folder = directory.root().join("tensorboard");
    let mut events = EventFile::create(&folder, now.host.as_deref().unwrap_or("localhost"), from)?;
    let code = |text: &str| text.lines().map(|line| format!("    {line}\n")).collect::<String>();
    events.text(from, "command", &code(&now.command.join(" ")))?;
    events.text(from, "config", &code(&now.config))?;
    Ok(events)
}

/// Returns the first message to a tracker in Python, which describes the run.
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

/// Returns the run's id, which stays the same if the run is resumed.
fn id(first: &Stretch) -> Result<String> {
    let hash = Sha256::digest(serde_json::to_vec(first)?);
    Ok(hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Returns the name of a metric in a tracker, with one of four groups as prefix. `eval_NAME` becomes `eval/NAME`, the
/// lab's exact measures become `exact/NAME`, timings `time/NAME`, and all others `train/NAME`.
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

/// Returns the description of a metric from the table of metrics.
fn describe(name: &str) -> String {
    match (get(name), of_error(name)) {
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
        assert_eq!(tag("eval_math500_success"), "eval/math500_success");
        assert!(describe("eval_math500_success_se").ends_with("Success, sampled (math500)"));
        assert!(describe("tokens_per_s").contains("(tokens/s): Prompt and completion tokens"));
    }
}
