//! The page of a sweep: every measure over the values of the option, the exact target's curve beside the learned points.

use std::path::Path;

use anyhow::Result;
use flowrl_core::metrics::Metric;
use flowrl_lm::fs::atomic_write;

use super::{Goals, Sweep};
use crate::{
    compare::Summary,
    report::{
        Kind,
        chart::{Along, Chart},
        format::{escape, number, push},
        page::{Section, page},
        sections::charts_with,
        series::{Point, Series},
    },
};

impl Sweep {
    /// Writes the page.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        let curve = self.curve()?;
        let charts: Vec<Chart> = self.measures().map(|metric| self.chart(metric, &curve)).collect();
        let mut lead =
            "Learned: after training, the mean over seeds; the band goes from the lowest to the highest.".to_owned();
        if !curve.is_empty() {
            lead += " Target: π_ref·exp(βr)/Z, computed exactly at every β.";
        }
        if let Some(beta) = self.fixed_beta() {
            lead += &format!(" The target has β = {}.", number(beta));
        }
        let sections = [
            Section { title: "Diagram", body: charts_with(&lead, &charts) },
            Section { title: "Runs", body: self.list() },
        ];
        let subtitle = format!(
            "{} · {} · {} values · {} runs",
            self.config.objective_name(),
            self.config.task.kind,
            self.values().len(),
            self.runs.len()
        );
        let title = format!("Sweep over {}", self.key);
        Ok(atomic_write(path, page(&title, &subtitle, Kind::Ended, &sections).as_bytes())?)
    }

    fn chart(&self, metric: &Metric, curve: &[Goals]) -> Chart {
        let points = self.points(metric.name);
        let mut series = vec![Series { label: "learned".into(), ink: "accent", points, smooth: false }];
        if let Some(goal) = metric.target_metric() {
            let exact = curve.iter().filter_map(|goals| {
                let (_, y) = goals.measures.iter().find(|(name, _)| *name == goal)?;
                Some(Point { x: goals.beta, y: *y, band: None })
            });
            let mut points: Vec<Point> = exact.collect();
            if points.is_empty() {
                points = self.points(goal).into_iter().map(|point| Point { band: None, ..point }).collect();
            }
            series.push(Series { label: "target".into(), ink: "second", points, smooth: false });
        }
        series.retain(|series| series.last_finite().is_some());
        Chart {
            title: metric.label.to_owned(),
            unit: metric.unit,
            about: metric.meaning.to_owned(),
            series,
            target: None,
            may_log: metric.log,
            range: metric.range,
            along: Along::Values { name: self.key.clone(), at: self.values() },
        }
    }

    /// The last value at each value of the option.
    fn points(&self, metric: &str) -> Vec<Point> {
        let at = |x: f64| {
            let last = self.last(x, metric);
            let low = last.iter().copied().fold(f64::INFINITY, f64::min);
            let high = last.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let y = Summary::of(&last)?.mean;
            Some(Point { x, y, band: (last.len() > 1).then_some((low, high)) })
        };
        self.values().into_iter().filter_map(at).collect()
    }

    fn list(&self) -> String {
        let mut out = String::from("<ul>");
        for (place, run) in &self.runs {
            push(
                &mut out,
                format_args!(
                    "<li>{} = {}, seed {}: <code>{}</code></li>",
                    escape(&self.key),
                    place.value,
                    place.seed,
                    escape(&run.name)
                ),
            );
        }
        out + "</ul>"
    }
}
