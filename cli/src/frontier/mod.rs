//! Success against diversity lost, for every objective over its β or its KL: what `cargo xtask frontier` measures, and what is made of it.
//!
//! The measurements are data of the repository, `cli/frontier/results.jsonl`. The tables, the picture and the small chart in the reports
//! of Countdown runs come from there.

mod choice;
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

use self::methods::{METHODS, Method};
use crate::compare::Summary;

pub use self::choice::Choice;

/// What was measured when this program was built.
const MEASURED: &str = include_str!("../../frontier/results.jsonl");

/// All measured runs.
#[derive(Clone, Debug, Default)]
pub struct Frontier {
    /// What all runs have in common, `key=value` divided by spaces.
    settings: String,
    /// In the order of the methods, their values, steps and seeds.
    runs: Vec<Measured>,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    method: String,
    value: f64,
    seed: u64,
    steps: u64,
    /// The objective's options as they were resolved, `key=value` divided by spaces.
    options: String,
    /// Of the program.
    version: String,
    /// Processor time of the training steps.
    cpu_s: f64,
    at: Vec<Point>,
}

/// The measures at a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Point {
    pub(crate) step: u64,
    /// π(C), exact.
    #[serde(rename = "eval_success_exact")]
    pub(crate) success: f64,
    /// KL(π_ref(·|C) ‖ π(·|C)), exact.
    #[serde(rename = "eval_kl_on_correct")]
    pub(crate) lost: f64,
    /// KL to the reference, from the step's own completions; none before the first step, nor where the objective needs no reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kl_ref: Option<f64>,
    #[serde(rename = "eval_pass_at_8")]
    pub(crate) pass_at_8: f64,
    #[serde(rename = "eval_distinct_correct")]
    pub(crate) distinct: f64,
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    settings: String,
}

impl Frontier {
    /// What was measured when this program was built.
    ///
    /// # Errors
    /// As for [`Frontier::parse`].
    pub fn measured() -> Result<Self> {
        Self::parse(MEASURED).context("in the program's own cli/frontier/results.jsonl")
    }

    /// Reads the file's text; an empty one has no runs.
    ///
    /// # Errors
    /// A line that is no run of a method in the table, named.
    pub fn parse(text: &str) -> Result<Self> {
        let mut lines = text.lines().enumerate();
        let Some((_, head)) = lines.next() else { return Ok(Self::default()) };
        let Head { settings } = serde_json::from_str(head).context("line 1")?;
        let run = |(i, line): (usize, &str)| -> Result<Measured> {
            let context = || format!("line {}", i + 1);
            let run: Measured = serde_json::from_str(line).with_context(context)?;
            let method = Method::named(&run.method).filter(|method| method.values.contains(&run.value));
            ensure!(
                method.is_some(),
                "line {}: {} with {} is not in the table of methods.rs; remove the line, or add the value",
                i + 1,
                run.method,
                run.value
            );
            Ok(run)
        };
        let mut frontier = Self { settings, runs: Vec::new() };
        for line in lines {
            frontier.insert(run(line)?);
        }
        Ok(frontier)
    }

    /// Whether a configuration is of the same task and the same model.
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

    /// Puts a run in its place, where one with the same settings goes.
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

    /// Mean and deviation of a measure over `seeds`, at a step of runs of `steps`; none unless all of them are there.
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

    /// Before the first step, where all are the same.
    fn before(&self) -> Option<&Point> {
        self.runs.iter().flat_map(|run| &run.at).find(|point| point.step == 0)
    }
}

/// Every choice of a method and a value.
fn grid() -> impl Iterator<Item = (&'static Method, f64)> {
    METHODS.iter().flat_map(|method| method.values.iter().map(move |value| (method, *value)))
}
