//! `report.html`: one page about a run that works offline, without JavaScript, on paper and on a phone.
//!
//! The page depends only on the files of the run directory, so it can be written again at any time.

pub(crate) mod axis;
pub(crate) mod chart;
pub(crate) mod link;
mod origin;
pub(crate) mod page;
mod picture;
pub(crate) mod result;
pub(crate) mod run;
mod samples;
pub(crate) mod sections;
pub(crate) mod series;

use std::path::{Path, PathBuf};

use anyhow::Result;
use flowrl_core::metrics::Metric;
use flowrl_lm::fs::atomic_write;

use crate::format::{escape, number, push};
use crate::lab::picture::Picture;
use crate::metrics::sets;
use crate::run_dir::RunDir;
use crate::run_dir::best::Best;
use crate::run_dir::provenance::Provenance;
use page::{Section, page};
use run::Run;

/// How a page is read, and whether its run is still going.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file about a run that has ended.
    Ended,
    /// A file about a run that is still going; it reloads itself every half minute.
    GoesOn,
    /// A page served by `flowrl-cli watch`, which tells it when to redraw.
    Served,
}

/// Writes `report.html` into a run directory and returns its path.
pub fn write(run_dir: &Path, kind: Kind) -> Result<PathBuf> {
    let path = RunDir::open(run_dir)?.report();
    atomic_write(&path, html(run_dir, kind)?.as_bytes())?;
    Ok(path)
}

/// Returns the report of a run as HTML.
///
/// The sources are `config.toml`, `metrics.jsonl`, `distribution.json`, `run.json` and the end of `rollouts.jsonl`. All
/// of them may be missing except that `config.toml` or `metrics.jsonl` must exist. A chart appears if its metrics were
/// recorded.
pub fn html(run_dir: &Path, kind: Kind) -> Result<String> {
    let dir = RunDir::open(run_dir)?;
    let distribution = Picture::read(&dir)?.map(|picture| picture::render(&picture)).unwrap_or_default();
    let run = Run::read(&dir)?;
    let best = Best::of(&run.config, &run.records, &dir.steps()?);
    let section = |title, body| Section { title, body };
    let mut sections =
        vec![section("Result", result::render(&run, best.as_ref())), section("Learned distribution", distribution)];
    sections.extend(sections::render(&run));
    sections.extend([
        section("Sample completions", samples::render(&dir.rollouts())?),
        section("Configuration", configuration(&run)),
        section("Origin", origin::render(&Provenance::read(&dir)?)),
        section("Glossary", glossary(&run)),
    ]);
    Ok(page(&run.name, &subtitle(&run), kind, &sections))
}

fn subtitle(run: &Run) -> String {
    let mut parts = vec![run.objective().to_owned()];
    let task = run.setting("task", "kind").or_else(|| run.setting("task", "name"));
    parts.extend(task.or_else(|| run.config.get("task")?.as_str()).map(str::to_owned));
    if let Some(last) = run.records.iter().filter_map(|record| record.step()).max() {
        parts.push(format!("{} steps", number(last as f64)));
    }
    let steps = || run.series("step_s").into_iter().map(|(_, s)| s).filter(|s| s.is_finite()).sum();
    let seconds: f64 = run.ends("wall_s").map_or_else(steps, |(_, last)| last.1);
    if seconds > 0.0 {
        parts.push(duration(seconds));
    }
    parts.join(" · ")
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

fn configuration(run: &Run) -> String {
    if run.config_text.is_empty() {
        return String::new();
    }
    format!(
        "<details><summary>config.toml, which replays the run</summary><pre>{}</pre></details>",
        escape(&run.config_text)
    )
}

/// Returns a table that explains the metrics this run recorded.
fn glossary(run: &Run) -> String {
    let recorded = run.metrics();
    let all = sets::all_with(recorded.iter().copied());
    let mut out = String::new();
    for Metric { name, label, unit, meaning, .. } in all.into_iter().filter(|metric| recorded.contains(&metric.name)) {
        let meaning = escape(meaning);
        push!(out, "<tr><td><code>{name}</code></td><td>{label}</td><td>{unit}</td><td>{meaning}</td></tr>");
    }
    if out.is_empty() {
        return out;
    }
    format!(
        "<details><summary>What every recorded metric means</summary><table class=words><thead><tr><th>metric</th>\
         <th>label</th><th>unit</th><th>meaning</th></tr></thead><tbody>{out}</tbody></table></details>"
    )
}
