//! Runs over the values of one option, seeds of a value as a mean with its range.

mod page;

use std::path::PathBuf;

use anyhow::Result;
use flowrl_core::lab::{Environment, Target};
use flowrl_core::metrics::{Metric, Rank};
use flowrl_core::objective::Objective;
use serde_json::{Value as Json, json};

use crate::compare::Summary;
use crate::config::Config;
use crate::lab::{self, Lab, truth};
use crate::metrics::results;
use crate::report::format::{push, quantity};
use crate::report::run::Run;
use crate::run_dir::RunDir;

/// Where the run of a value and a seed is.
#[derive(Clone, Debug)]
pub struct Place {
    /// Value of the swept option.
    pub value: f64,
    /// Seed.
    pub seed: u64,
    /// Run directory.
    pub directory: PathBuf,
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
    key: String,
    config: Config,
    runs: Vec<(Place, Run)>,
}

impl Sweep {
    /// Reads the runs of a sweep over `key`; `config` is that of any of them.
    ///
    /// # Errors
    /// A directory that is no run.
    pub fn read(key: &str, config: Config, places: Vec<Place>) -> Result<Self> {
        let read = |place: Place| Ok((place.clone(), Run::read(&RunDir::open(&place.directory)?)?));
        Ok(Self { key: key.to_owned(), config, runs: places.into_iter().map(read).collect::<Result<_>>()? })
    }

    /// The swept values from small to large.
    fn values(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.runs.iter().map(|(place, _)| place.value).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }

    /// The last values of a metric at one value of the option, one for each seed.
    fn last(&self, value: f64, metric: &str) -> Vec<f64> {
        let runs = self.runs.iter().filter(|(place, _)| place.value == value);
        runs.filter_map(|(_, run)| run.ends(metric)).map(|(_, last)| last.1).collect()
    }

    /// The results that some run has.
    fn measures(&self) -> impl Iterator<Item = &'static Metric> {
        let has = |name: &str| self.runs.iter().any(|(_, run)| run.ends(name).is_some());
        results(has).filter(|metric| metric.rank >= Rank::Compared)
    }

    /// The table as Markdown: mean ± standard deviation over seeds, in parentheses what should be reached.
    #[must_use]
    pub fn to_markdown(&self) -> String {
        let mut out = format!("| {} | seeds |", self.key);
        self.measures().for_each(|metric| push(&mut out, format_args!(" {} |", metric.label)));
        out.push_str("\n|--:|--:|");
        self.measures().for_each(|_| out.push_str("--:|"));
        for value in self.values() {
            let seeds = self.runs.iter().filter(|(place, _)| place.value == value).count();
            push(&mut out, format_args!("\n| {value} | {seeds} |"));
            for metric in self.measures() {
                let found = |name: &str| Summary::of(&self.last(value, name));
                let shown = found(metric.name).map_or_else(|| "–".into(), |summary| summary.show(metric.unit));
                let goal = metric.target_metric().and_then(found);
                let goal = goal.map(|goal| format!(" ({})", quantity(goal.mean, metric.unit)));
                push(&mut out, format_args!(" {shown}{} |", goal.unwrap_or_default()));
            }
        }
        out
    }

    /// `{"key", "runs": [{"value", "seed", "run", "metrics": {…last values}}], "target": [{"value", …}]}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let number = |x: f64| if x.is_finite() { json!(x) } else { Json::Null };
        let run = |(place, run): &(Place, Run)| {
            let names = run.metrics();
            let last = |name: &str| Some((name.to_owned(), number(run.ends(name)?.1.1)));
            let metrics: serde_json::Map<String, Json> = names.into_iter().filter_map(last).collect();
            json!({ "value": place.value, "seed": place.seed, "run": place.directory, "metrics": metrics })
        };
        let target = |goals: &Goals| {
            let measures = goals.measures.iter().map(|(name, value)| ((*name).to_owned(), number(*value)));
            Json::Object([("value".to_owned(), json!(goals.beta))].into_iter().chain(measures).collect())
        };
        let curve = self.curve().unwrap_or_default();
        json!({
            "key": self.key,
            "runs": self.runs.iter().map(run).collect::<Vec<_>>(),
            "target": curve.iter().map(target).collect::<Vec<_>>(),
        })
    }

    /// Whether the swept option is the target's inverse temperature in the lab.
    fn is_beta(&self) -> bool {
        let key = self.key.strip_prefix("objective.").unwrap_or(&self.key);
        let own = self.config.eval.target_beta.is_none();
        let flow = matches!(self.config.objective(), Ok(Objective::FlowRl(_)));
        self.config.task.kind.is_lab() && ((key == "beta" && own && flow) || key == "eval.target_beta")
    }

    /// The exact target's measures over β, at the swept values and closely between them; empty where β is not swept.
    fn curve(&self) -> Result<Vec<Goals>> {
        /// Points between neighbouring values, and objects evaluated for all of them together.
        const BETWEEN: usize = 16;
        const WORK: usize = 1 << 25;
        let mut betas = self.values();
        if !self.is_beta() {
            return Ok(Vec::new());
        }
        let lab = Lab::open(&self.config.task)?;
        let reference = truth::reference_of(&lab)?;
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
            let target = Target::plain(&lab, beta)?;
            Ok(Goals { beta, measures: truth::goals(&target, &reference)? })
        };
        betas.into_iter().map(at).collect()
    }

    /// β of the target where it is the same in every run.
    fn fixed_beta(&self) -> Option<f64> {
        let objective = self.config.objective().ok()?;
        (self.config.task.kind.is_lab() && !self.is_beta()).then(|| lab::beta(&self.config, &objective))
    }
}
