//! Compares runs on common axes. Runs that differ only in their seed form a group, shown as a mean with its range.
//!
//! A group holds runs with the same value of every key that a result depends on, apart from the seed. A [`Comparison`]
//! can be printed as JSON or Markdown, or written as a page.

mod page;

use std::collections::BTreeSet;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use flowrl_core::metrics::{Metric, Rank};
use serde::Serialize;
use serde_json::{Value as Json, json};

use crate::config::{flatten, is_among};
use crate::format::{number, push, quantity};
use crate::metrics::results;
use crate::report::run::Run;
use crate::run_dir::RunDir;

/// Runs grouped by their settings.
#[derive(Debug)]
pub struct Comparison {
    /// Groups in the order in which their settings first appeared.
    pub groups: Vec<Group>,
    /// Caveats of the comparison, for example settings other than the objective that differ.
    pub notes: Vec<String>,
    /// Heading of the column with the groups' names.
    by: &'static str,
}

/// Runs of the same settings.
#[derive(Debug)]
pub struct Group {
    /// Name of the objective, with the settings that distinguish the group if another group has the same objective. In
    /// a sweep, the swept settings.
    pub name: String,
    /// Names of the run directories.
    pub runs: Vec<String>,
    /// First and last evaluation of each metric that any run of the comparison has.
    pub cells: Vec<Cell>,
    /// Fewest and most steps of the runs in the group.
    pub steps: (u64, u64),
    members: Vec<Run>,
}

/// One metric of one group.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cell {
    /// Name of the metric.
    #[serde(skip)]
    pub metric: &'static str,
    /// Summary of the first evaluations.
    pub before: Option<Summary>,
    /// Summary of the last evaluations.
    pub after: Option<Summary>,
}

/// The mean and the spread of a metric over seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Mean over the runs.
    pub mean: f64,
    /// Standard deviation with delta degrees of freedom 1; absent for a single run.
    pub sd: Option<f64>,
    /// Number of runs that have the metric.
    pub n: usize,
}

impl Summary {
    /// Summarizes finite `values`, or returns `None` if there are none.
    ///
    /// ```
    /// use flowrl_cli::compare::Summary;
    ///
    /// let summary = Summary::of(&[1.0, 2.0, 3.0]).unwrap();
    /// assert_eq!((summary.mean, summary.sd, summary.n), (2.0, Some(1.0), 3));
    /// ```
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|x| (x - mean) * (x - mean)).sum();
        (n > 0).then(|| Self { mean, sd: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()), n })
    }

    /// Formats the summary for people, for example `63.5 ± 2.0 %` or `3.11 ± 0.06`.
    pub(crate) fn show(&self, unit: &str) -> String {
        match (self.sd, unit) {
            (None, "fraction") => quantity(self.mean, unit),
            (None, _) => number(self.mean),
            (Some(sd), "fraction") => format!("{:.1}\u{a0}±\u{a0}{:.1}\u{a0}%", 100.0 * self.mean, 100.0 * sd),
            (Some(sd), _) if self.mean.abs() < 1e-3 => format!("{}\u{a0}±\u{a0}{}", number(self.mean), number(sd)),
            (Some(sd), _) if sd <= 1e-9 * self.mean.abs() => format!("{}\u{a0}±\u{a0}0", number(self.mean)),
            (Some(sd), _) => {
                // Two digits of the deviation decide how many digits of the mean are significant.
                let decimals = (1 - sd.log10().floor() as i32).clamp(0, 4) as usize;
                format!("{:.decimals$}\u{a0}±\u{a0}{sd:.decimals$}", self.mean).replace('-', "−")
            }
        }
    }
}

/// Reads run directories and groups the runs that differ only in their seed.
pub fn compare(directories: &[PathBuf]) -> Result<Comparison> {
    if directories.is_empty() {
        bail!("nothing to compare: name one run directory or more");
    }
    let mut seen = BTreeSet::new();
    let mut groups: Vec<(String, Vec<Run>)> = Vec::new();
    for directory in directories {
        let run = Run::read(&RunDir::open(directory)?)?;
        let place = directory.canonicalize().with_context(|| format!("cannot find {}", directory.display()))?;
        if !seen.insert(place) {
            bail!("{} is named twice: each run counts once", directory.display());
        }
        let is_twin = |a: &Run| a.objective() == run.objective() && settings(a) == settings(&run);
        match groups.iter_mut().find(|(_, members)| is_twin(&members[0])) {
            Some((_, members)) => members.push(run),
            None => groups.push((run.objective().to_owned(), vec![run])),
        }
    }
    tell_apart(&mut groups);
    let mut comparison = Comparison::of_groups(groups, "objective");
    comparison.notes.splice(0..0, more_than_the_objective(&comparison.groups));
    Ok(comparison)
}

impl Comparison {
    /// Compares groups of runs. Each has a name, which is that of an objective or a setting, as `by` says.
    pub(crate) fn of_groups(groups: Vec<(String, Vec<Run>)>, by: &'static str) -> Self {
        let runs = groups.iter().flat_map(|(_, members)| members);
        let measured: Vec<&Metric> = results(runs.flat_map(Run::measured)).collect();
        let groups: Vec<Group> =
            groups.into_iter().map(|(name, members)| Group::new(name, members, &measured)).collect();
        let notes = notes(&groups);
        Self { groups, notes, by }
    }

    /// Returns the whole table as JSON: `{"groups": [{"objective", "runs", "steps", "metrics": {NAME: {"before",
    /// "after"}}}], "notes"}`. Each of `before` and `after` is `{"mean", "sd", "n"}` or `null`.
    pub fn to_json(&self) -> Json {
        let group = |group: &Group| {
            let metrics: serde_json::Map<String, Json> =
                group.cells.iter().map(|cell| (cell.metric.to_owned(), json!(cell))).collect();
            json!({ "objective": group.name, "runs": group.runs, "steps": [group.steps.0, group.steps.1], "metrics": metrics })
        };
        json!({ "groups": self.groups.iter().map(group).collect::<Vec<_>>(), "notes": self.notes })
    }

    /// Formats the table as Markdown, with the mean ± standard deviation over seeds after training, and before it in
    /// parentheses.
    pub fn to_markdown(&self) -> String {
        let columns = self.columns();
        let mut out = format!("| {} | seeds |", self.by);
        columns.iter().for_each(|metric| push!(out, " {} |", metric.label));
        out.push_str("\n|---|--:|");
        out.push_str(&"--:|".repeat(columns.len()));
        for group in &self.groups {
            push!(out, "\n| {} | {} |", group.name.replace('|', "\\|").replace('\n', " "), group.runs.len());
            for metric in &columns {
                let (after, before) = group.shown(metric);
                push!(out, " {after}{} |", before.map(|b| format!(" ({b})")).unwrap_or_default());
            }
        }
        out.push('\n');
        out
    }

    /// Returns the columns that at least one run can fill.
    fn columns(&self) -> Vec<&'static Metric> {
        let cells = self.groups.iter().flat_map(|group| &group.cells);
        let filled = cells.filter(|cell| cell.after.is_some()).map(|cell| cell.metric);
        results(filled).filter(|metric| metric.rank >= Rank::Compared).collect()
    }
}

impl Group {
    /// Returns the cell of a metric.
    pub fn cell(&self, metric: &str) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.metric == metric)
    }

    fn new(name: String, members: Vec<Run>, measured: &[&'static Metric]) -> Self {
        let runs = members.iter().map(|run| run.name.clone()).collect();
        let last = |run: &Run| run.records.iter().filter_map(|record| record.step()).max().unwrap_or(0);
        let steps = (members.iter().map(last).min().unwrap_or(0), members.iter().map(last).max().unwrap_or(0));
        let cell = |metric: &&'static Metric| {
            let ends: Vec<_> = members.iter().filter_map(|run| run.ends(metric.name)).collect();
            let before: Vec<f64> = ends.iter().map(|(first, _)| first.1).collect();
            // A run whose only evaluation is the one before its first step has no result yet.
            let after: Vec<f64> =
                ends.iter().filter(|(first, last)| last.0 > first.0).map(|(_, last)| last.1).collect();
            Cell { metric: metric.name, before: Summary::of(&before), after: Summary::of(&after) }
        };
        let cells = measured.iter().map(cell).collect();
        Self { name, runs, cells, steps, members }
    }

    /// Formats a metric after and before training.
    fn shown(&self, metric: &Metric) -> (String, Option<String>) {
        let cell = self.cell(metric.name);
        let show = |summary: Option<Summary>| summary.map(|summary| summary.show(metric.unit));
        let after = show(cell.and_then(|cell| cell.after)).unwrap_or_else(|| "–".to_owned());
        (after, show(cell.and_then(|cell| cell.before)))
    }
}

/// The keys that no result depends on: those about files, speed and memory.
const OF_NO_RESULT: [&str; 6] =
    ["run.", "train.threads", "train.device", "train.micro_batch", "model.recompute", "sampling.wave"];

/// Returns the settings that the result of a run depends on, apart from the seed, as `(dotted key, value)`.
fn settings(run: &Run) -> Vec<(String, String)> {
    let mut all = flatten("", &run.config);
    let ends = ["seed", "out", "name", "resume"];
    all.retain(|(key, _)| {
        // The seed of a task is a setting; only that of the run is left out.
        !is_among(key, &OF_NO_RESULT)
            && (key.starts_with("task.") || !ends.contains(&key.rsplit('.').next().unwrap_or_default()))
    });
    all
}

/// Appends to equal names the settings in which their groups differ.
fn tell_apart(groups: &mut [(String, Vec<Run>)]) {
    let settings: Vec<_> = groups.iter().map(|(_, members)| settings(&members[0])).collect();
    let names: Vec<String> = groups.iter().map(|(name, _)| name.clone()).collect();
    for (index, (name, _)) in groups.iter_mut().enumerate() {
        let twins = (0..names.len()).filter(|other| *other != index && names[*other] == names[index]);
        let twins: Vec<_> = twins.map(|other| &settings[other]).collect();
        let own = settings[index].iter().filter(|setting| twins.iter().any(|twin| !twin.contains(setting)));
        let short = |key: &str| key.strip_prefix("objective.").unwrap_or(key).to_owned();
        let own: Vec<String> = own.map(|(key, value)| format!("{} = {value}", short(key))).collect();
        if !own.is_empty() {
            *name = format!("{} ({})", names[index], own.join(", "));
        } else if !twins.is_empty() {
            *name = format!("{} (as is)", names[index]);
        }
    }
}

/// Returns a note with the settings outside `[objective]` that differ between objectives. If all groups have the same
/// objective, such settings are in their names instead.
fn more_than_the_objective(groups: &[Group]) -> Option<String> {
    let first = groups[0].members[0].objective();
    if groups.iter().all(|group| group.members[0].objective() == first) {
        return None;
    }
    let all: Vec<_> = groups.iter().map(|group| settings(&group.members[0])).collect();
    let differs = |setting: &&(String, String)| {
        !setting.0.starts_with("objective.") && all.iter().any(|other| !other.contains(setting))
    };
    let keys: BTreeSet<&str> = all.iter().flatten().filter(differs).map(|(key, _)| key.as_str()).collect();
    let keys: Vec<&str> = keys.into_iter().collect();
    (!keys.is_empty()).then(|| format!("These runs differ in more than the objective: {}.", keys.join(", ")))
}

/// Returns notes about unequal targets and lengths.
fn notes(groups: &[Group]) -> Vec<String> {
    let runs: Vec<&Run> = groups.iter().flat_map(|group| &group.members).collect();
    let mut notes = Vec::new();
    let targets: Vec<u64> = runs.iter().filter_map(|run| Some(run.ends("target_log_z")?.1.1.to_bits())).collect();
    if targets.iter().any(|target| *target != targets[0]) {
        notes.push(
            "Each run is measured against its own target, and these differ in the task or in β (eval.target_beta sets a common one).".into(),
        );
    }
    let fewest = groups.iter().map(|group| group.steps.0).min().unwrap_or(0);
    let most = groups.iter().map(|group| group.steps.1).max().unwrap_or(0);
    if fewest != most {
        notes.push(format!("The runs differ in length: {fewest} to {most} steps."));
    }
    notes
}
