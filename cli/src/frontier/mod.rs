//! The frontier: success against diversity lost, for every objective and several values of its β or KL weight.
//!
//! `cargo xtask frontier` makes the measurements and stores them in the repository, in `cli/frontier/results.jsonl`.
//! The tables, the picture and the chart in the reports of Countdown runs come from this file.

mod claims;
pub mod measure;
pub mod methods;
mod picture;
mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;

use anyhow::{Context, Result, ensure};
use flowrl_lm::fs::atomic_write;
use serde::{Deserialize, Serialize};

use self::methods::{METHODS, Method, STEPS};
use crate::compare::Summary;

pub use self::claims::Choice;

/// The measurements at the time this program was built.
const MEASURED: &str = include_str!("../../frontier/results.jsonl");

/// All measured runs.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    /// The settings common to all runs, as `key=value` pairs separated by spaces.
    settings: String,
    /// The runs in the order of the methods, their values, steps and seeds.
    runs: Vec<Measured>,
}

/// A measured run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    method: String,
    value: f64,
    seed: u64,
    steps: u64,
    /// The objective's resolved options, as `key=value` pairs separated by spaces.
    options: String,
    /// Version of the program.
    version: String,
    /// Processor time of the training steps in seconds.
    cpu_s: f64,
    at: Vec<Point>,
}

/// The measures of a run at a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub(crate) step: u64,
    /// Success π(C), computed exactly.
    #[serde(rename = "eval_success_exact")]
    pub(crate) success: f64,
    /// Diversity lost, KL(π_ref(·|C) ‖ π(·|C)) in nats, computed exactly.
    #[serde(rename = "eval_kl_on_correct")]
    pub(crate) lost: f64,
    /// KL to the reference, estimated from the completions of the step. It is absent before the first step, and if the
    /// objective needs no reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kl_ref: Option<f64>,
    #[serde(rename = "eval_pass_at_8")]
    pub(crate) pass_at_8: f64,
    #[serde(rename = "eval_distinct_correct")]
    pub(crate) distinct: f64,
}

/// The first line of the file, before the runs.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    settings: String,
}

impl Frontier {
    /// Returns the measurements at the time this program was built.
    pub fn measured() -> Result<Self> {
        Self::parse(MEASURED).context("in the program's own cli/frontier/results.jsonl")
    }

    /// Parses the text of the file. An empty text has no runs.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let Some((_, head)) = lines.next() else { return Ok(Self::default()) };
        let Head { settings } = serde_json::from_str(head).context("line 1")?;
        let mut frontier = Self { settings, runs: Vec::new() };
        for (i, line) in lines {
            let run: Measured = serde_json::from_str(line).with_context(|| format!("line {}", i + 1))?;
            let method = Method::named(&run.method).filter(|method| method.values.contains(&run.value));
            ensure!(
                method.is_some(),
                "line {}: {} with {} is not in the table of methods.rs; remove the line, or add the value",
                i + 1,
                run.method,
                run.value
            );
            frontier.insert(run);
        }
        Ok(frontier)
    }

    /// Returns whether a configuration has the task and the model of these measurements.
    pub(crate) fn is_of(&self, config: &toml::Table) -> bool {
        let has_own_model = config.get("model").is_some_and(|model| model.get("path").is_some());
        let task = config.get("task").map(|task| toml::Table::from_iter([("task".to_owned(), task.clone())]));
        let task = measure::flat(&task.unwrap_or_default(), |_| true);
        let is_shared = |pair: &str| !pair.starts_with("task.") || task.split(' ').any(|other| other == pair);
        !has_own_model && !self.runs.is_empty() && self.settings.split(' ').all(is_shared)
    }

    fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string(&Head { settings: self.settings.clone() })? + "\n";
        for run in &self.runs {
            text += &(serde_json::to_string(run)? + "\n");
        }
        atomic_write(path, text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
    }

    fn find(&self, method: &Method, value: f64, seed: u64, steps: u64) -> Option<&Measured> {
        let is_it =
            |run: &&Measured| run.method == method.name && run.value == value && run.seed == seed && run.steps == steps;
        self.runs.iter().find(is_it)
    }

    /// Inserts a run in order. It replaces a run of the same method, value, steps and seed.
    fn insert(&mut self, run: Measured) {
        let key = |run: &Measured| {
            let method = METHODS.iter().position(|method| method.name == run.method);
            (method, run.value.to_bits(), run.steps, run.seed)
        };
        match self.runs.binary_search_by_key(&key(&run), key) {
            Ok(at) => self.runs[at] = run,
            Err(at) => self.runs.insert(at, run),
        }
    }

    /// Returns the mean and the standard deviation of a measure over `seeds`, at `step` of the runs of `steps` steps.
    /// Returns `None` unless all these runs exist.
    fn over(
        &self,
        (method, value): (&Method, f64),
        seeds: &[u64],
        (step, steps): (u64, u64),
        measure: impl Fn(&Point) -> f64,
    ) -> Option<Summary> {
        let point = |seed: &u64| self.find(method, value, *seed, steps)?.at.iter().find(|point| point.step == step);
        let values: Option<Vec<f64>> = seeds.iter().map(|seed| point(seed).map(&measure)).collect();
        Summary::of(&values?)
    }

    /// Returns success and diversity lost of a value after the last of [`STEPS`], over `seeds`.
    fn ends(&self, at: (&Method, f64), seeds: &[u64]) -> Option<(Summary, Summary)> {
        let over = |measure: fn(&Point) -> f64| self.over(at, seeds, (STEPS, STEPS), measure);
        over(|point| point.success).zip(over(|point| point.lost))
    }

    /// Returns the measures before the first step, which all runs share.
    fn before(&self) -> Option<&Point> {
        self.runs.iter().flat_map(|run| &run.at).find(|point| point.step == 0)
    }
}

/// Returns every pair of a method and one of its values.
fn grid() -> impl Iterator<Item = (&'static Method, f64)> {
    METHODS.iter().flat_map(|method| method.values.iter().map(move |value| (method, *value)))
}
