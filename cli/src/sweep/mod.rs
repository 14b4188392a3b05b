//! Sweeps: runs over the values of some options. Runs with the same values form a row, with the mean over their seeds.

pub(crate) mod grid;
pub(crate) mod jobs;
mod page;

use std::path::PathBuf;

use anyhow::Result;
use flowrl_core::metrics::{Metric, Rank};
use flowrl_core::objective::Objective;
use flowrl_lab::Environment;
use serde_json::{Value as Json, json};

use crate::compare::Summary;
use crate::config::Config;
use crate::format::{push, quantity};
use crate::lab::truth;
use crate::metrics::results;
use crate::report::run::Run;
use crate::run_dir::RunDir;

/// The directory of the run with one choice of values and one seed.
#[derive(Clone, Debug)]
pub struct Place {
    /// Each swept option with its value.
    pub settings: Vec<(String, String)>,
    /// Seed of the run.
    pub seed: u64,
    /// Directory of the run.
    pub directory: PathBuf,
}

impl Place {
    /// Returns the value of the swept option, if only one is swept and the value is a number.
    fn value(&self) -> Option<f64> {
        match &self.settings[..] {
            [(_, value)] => value.parse().ok().filter(|value: &f64| value.is_finite()),
            _ => None,
        }
    }
}

/// The measures of the exact target at one β.
#[derive(Debug)]
struct Goals {
    beta: f64,
    measures: [(&'static str, f64); 4],
}

/// A finished sweep.
#[derive(Debug)]
pub struct Sweep {
    keys: Vec<String>,
    config: Config,
    runs: Vec<(Place, Run)>,
}

impl Sweep {
    /// Reads the runs of a sweep over `keys`. `config` is the configuration of any of them.
    pub fn read(keys: Vec<String>, config: Config, places: Vec<Place>) -> Result<Self> {
        let read = |place: Place| Ok((place.clone(), Run::read(&RunDir::open(&place.directory)?)?));
        let mut runs = places.into_iter().map(read).collect::<Result<Vec<_>>>()?;
        if runs.iter().all(|(place, _)| place.value().is_some()) {
            runs.sort_by(|a, b| a.0.value().unwrap_or(0.0).total_cmp(&b.0.value().unwrap_or(0.0)));
        }
        Ok(Self { keys, config, runs })
    }

    /// Returns the runs of each choice of values, which differ in their seeds.
    fn rows(&self) -> impl Iterator<Item = &[(Place, Run)]> {
        self.runs.chunk_by(|a, b| a.0.settings == b.0.settings)
    }

    /// Returns the swept values in ascending order, or `None` unless only one option was swept and its values are
    /// numbers.
    fn values(&self) -> Option<Vec<f64>> {
        self.rows().map(|row| row[0].0.value()).collect()
    }

    /// Returns the results that any run has.
    fn measures(&self) -> impl Iterator<Item = &'static Metric> {
        results(self.runs.iter().flat_map(|(_, run)| run.measured())).filter(|metric| metric.rank >= Rank::Compared)
    }

    /// Formats the table as Markdown, with the mean ± standard deviation over seeds, and the value to be reached in
    /// parentheses.
    pub fn to_markdown(&self) -> String {
        let cell = |text: &str| text.replace('|', "\\|");
        let mut out = String::from("|");
        self.keys.iter().for_each(|key| push!(out, " {key} |"));
        out.push_str(" seeds |");
        self.measures().for_each(|metric| push!(out, " {} |", metric.label));
        out.push_str("\n|");
        (0..=self.keys.len() + self.measures().count()).for_each(|_| out.push_str("--:|"));
        for row in self.rows() {
            out.push_str("\n|");
            for (_, value) in &row[0].0.settings {
                let number = value.parse::<f64>().ok().filter(|value| value.is_finite());
                let shown = number.map_or_else(|| cell(value), |number| number.to_string());
                push!(out, " {shown} |");
            }
            push!(out, " {} |", row.len());
            for metric in self.measures() {
                let found = |name: &str| Summary::of(&last(row, name));
                let shown = found(metric.name).map_or_else(|| "–".into(), |summary| summary.show(metric.unit));
                let goal = metric.target_metric().and_then(found);
                let goal = goal.map(|goal| format!(" ({})", quantity(goal.mean, metric.unit)));
                push!(out, " {shown}{} |", goal.unwrap_or_default());
            }
        }
        out
    }

    /// Returns the sweep as JSON. Numeric values are written as numbers. The list of targets is empty unless β is the only
    /// swept option.
    ///
    /// `{"keys", "runs": [{"settings": {KEY: value}, "seed", "run", "metrics": {…last values}}], "target": [{"value", …}]}`
    pub fn to_json(&self) -> Json {
        let number = |x: f64| if x.is_finite() { json!(x) } else { Json::Null };
        let typed = |text: &str| match text.parse::<f64>() {
            Ok(x) if x.is_finite() => json!(x),
            _ => json!(text),
        };
        let run = |(place, run): &(Place, Run)| {
            let names = run.metrics();
            let last = |name: &str| Some((name.to_owned(), number(run.ends(name)?.1.1)));
            let metrics: serde_json::Map<String, Json> = names.into_iter().filter_map(last).collect();
            let settings = place.settings.iter().map(|(key, value)| (key.clone(), typed(value)));
            let settings: serde_json::Map<String, Json> = settings.collect();
            json!({ "settings": settings, "seed": place.seed, "run": place.directory, "metrics": metrics })
        };
        let target = |goals: &Goals| {
            let measures = goals.measures.iter().map(|(name, value)| ((*name).to_owned(), number(*value)));
            Json::Object([("value".to_owned(), json!(goals.beta))].into_iter().chain(measures).collect())
        };
        let curve = self.curve().unwrap_or_default();
        json!({
            "keys": self.keys,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "target": curve.iter().map(target).collect::<Vec<_>>(),
        })
    }

    /// Returns whether the only swept option is the target's β in the lab.
    fn is_beta(&self) -> bool {
        let [key] = &self.keys[..] else { return false };
        let key = key.strip_prefix("objective.").unwrap_or(key);
        let own = self.config.eval.target_beta.is_none();
        let flow = matches!(self.config.objective(), Ok(Objective::FlowRl(_)));
        self.config.task.kind.is_lab() && ((key == "beta" && own && flow) || key == "eval.target_beta")
    }

    /// Computes the exact target's measures over β, at the swept values and at points between them. The curve is empty
    /// if β is not swept.
    fn curve(&self) -> Result<Vec<Goals>> {
        /// The maximum number of intervals between neighbouring values.
        const BETWEEN: usize = 16;
        /// The maximum number of objects evaluated over all points together.
        const WORK: usize = 1 << 25;
        let Some(mut betas) = self.values().filter(|_| self.is_beta()) else { return Ok(Vec::new()) };
        let lab = self.config.task.open_lab()?;
        let (reference, objective) = (truth::reference_of(&lab)?, self.config.objective()?);
        let points = (WORK / lab.objects().max(1) / betas.len().max(1)).clamp(1, BETWEEN);
        let between: Vec<f64> = betas
            .windows(2)
            .flat_map(|pair| {
                let (a, b) = (pair[0], pair[1]);
                (1..points).map(move |i| {
                    let share = i as f64 / points as f64;
                    if a > 0.0 { a * (b / a).powf(share) } else { a + share * (b - a) }
                })
            })
            .collect();
        betas.extend(between);
        betas.sort_by(f64::total_cmp);
        let at = |beta| {
            let target = truth::target(&lab, &objective, beta)?;
            Ok(Goals { beta, measures: truth::goals(&target, &reference)? })
        };
        betas.into_iter().map(at).collect()
    }
}

/// Returns the last values of a metric, one for each seed.
fn last(row: &[(Place, Run)], metric: &str) -> Vec<f64> {
    row.iter().filter_map(|(_, run)| run.ends(metric)).map(|(_, last)| last.1).collect()
}
