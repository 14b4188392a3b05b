//! The page of a sweep.
//!
//! If a single option was swept over numbers, the page plots every measure against them, with the exact target's curve
//! next to the learned points. Otherwise it shows a table of all settings and their curves over the steps, as a
//! comparison does.

use std::path::Path;

use anyhow::Result;
use flowrl_core::metrics::Metric;
use flowrl_lm::fs::atomic_write;

use super::{Goals, Place, Sweep, last};
use crate::compare::Comparison;
use crate::format::{escape, number, push};
use crate::lab;
use crate::report::chart::{Along, Chart};
use crate::report::page::{Section, page};
use crate::report::run::Run;
use crate::report::sections::charts_with;
use crate::report::series::{Point, Series};
use crate::report::{Kind, link};

impl Sweep {
    /// Writes the page.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        let title = format!("Sweep over {}", self.keys.join(", "));
        let (sections, count) = match self.values() {
            Some(values) => (self.diagram(&values, path)?.into(), format!("{} values", values.len())),
            None => (self.comparison().sections(path), format!("{} settings", self.rows().count())),
        };
        let objective =
            if self.keys.iter().any(|key| key == "objective") { None } else { Some(self.config.objective_name()) };
        let parts = objective.map(str::to_owned).into_iter();
        let parts = parts.chain([self.config.task.kind.to_string(), count, format!("{} runs", self.runs.len())]);
        let subtitle = parts.collect::<Vec<_>>().join(" · ");
        Ok(atomic_write(path, page(&title, &subtitle, Kind::Ended, &sections).as_bytes())?)
    }

    /// Returns the sections for a single option: every measure over its values, and the list of runs.
    fn diagram(&self, values: &[f64], path: &Path) -> Result<[Section; 2]> {
        let curve = self.curve()?;
        let charts: Vec<Chart> = self.measures().map(|metric| self.chart(metric, values, &curve)).collect();
        let mut lead =
            "Learned: after training, the mean over seeds; the band goes from the lowest to the highest.".to_owned();
        if !curve.is_empty() {
            lead += " Target: π_ref·exp(βr)/Z, computed exactly at every β.";
        }
        // The target has the same β in every run unless β is swept.
        if self.config.task.kind.is_lab() && !self.is_beta() {
            let beta = lab::beta(&self.config, &self.config.objective()?);
            lead += &format!(" The target has β = {}.", number(beta));
        }
        Ok([
            Section { title: "Diagram", body: charts_with(&lead, &charts) },
            Section { title: "Runs", body: self.list(path) },
        ])
    }

    /// Returns a comparison whose groups are the runs with the same values.
    fn comparison(&self) -> Comparison {
        let group = |row: &[(Place, Run)]| {
            let settings = row[0].0.settings.iter().map(|(key, value)| format!("{key} = {value}"));
            (settings.collect::<Vec<_>>().join(", "), row.iter().map(|(_, run)| run.clone()).collect())
        };
        Comparison::of_groups(self.rows().map(group).collect(), "setting")
    }

    fn chart(&self, metric: &Metric, values: &[f64], curve: &[Goals]) -> Chart {
        let mut series = vec![Series::new("learned", "accent", self.points(metric.name), false)];
        if let Some(goal) = metric.target_metric() {
            let exact = curve.iter().filter_map(|goals| {
                let (_, y) = goals.measures.iter().find(|(name, _)| *name == goal)?;
                Some(Point::new((goals.beta, *y)))
            });
            let mut points: Vec<Point> = exact.collect();
            if points.is_empty() {
                points = self.points(goal).into_iter().map(|point| Point { band: None, ..point }).collect();
            }
            series.push(Series::new("target", "second", points, false));
        }
        series.retain(|series| series.last_finite().is_some());
        let along = Along::Values { name: self.keys[0].clone(), at: values.to_vec() };
        Chart { along, ..Chart::of(metric, series) }
    }

    /// Returns the last value of a metric at each value of the option, as the mean over seeds with its range.
    fn points(&self, metric: &str) -> Vec<Point> {
        let at = |row: &[(Place, Run)]| Some(Point::mean(row[0].0.value()?, last(row, metric).into_iter()));
        self.rows().filter_map(at).filter(|point| point.y.is_finite()).collect()
    }

    fn list(&self, path: &Path) -> String {
        let mut out = String::from("<ul>");
        for (Place { settings, seed, .. }, run) in &self.runs {
            let settings = settings.iter().map(|(key, value)| escape(&format!("{key} = {value}")));
            let settings = settings.collect::<Vec<_>>().join(", ");
            push!(out, "<li>{settings}, seed {seed}: {}</li>", link::to_run(run, path));
        }
        out + "</ul>"
    }
}
