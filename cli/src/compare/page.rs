//! The page of a comparison.

use std::path::Path;

use anyhow::Result;
use flowrl_core::metrics::{Metric, Rank};
use flowrl_lm::fs::atomic_write;

use super::{Comparison, Group};
use crate::format::{escape, number, push};
use crate::metrics::sets;
use crate::report::chart::{Chart, INKS};
use crate::report::page::{Section, note_box, page};
use crate::report::run::Run;
use crate::report::sections::{charts_with, is_smoothed};
use crate::report::series::{Point, Series};
use crate::report::{Kind, link};

impl Comparison {
    /// Writes the page with the table and the charts.
    pub fn write_html(&self, path: &Path) -> Result<()> {
        let runs: usize = self.groups.iter().map(|group| group.runs.len()).sum();
        let subtitle = format!("{} settings · {runs} runs", self.groups.len());
        Ok(atomic_write(path, page("Comparison", &subtitle, Kind::Ended, &self.sections(path)).as_bytes())?)
    }

    /// Returns the sections of the page at `path`: the table, the charts and the list of runs.
    pub(crate) fn sections(&self, path: &Path) -> Vec<Section> {
        let names = self.groups.iter().flat_map(|group| &group.members).flat_map(Run::metrics);
        let charts: Vec<Chart> = sets::all_with(names)
            .into_iter()
            .filter(|metric| metric.rank >= Rank::Compared)
            .filter_map(|metric| self.chart(metric))
            .collect();
        let lead = "Mean over the seeds of a setting; the band goes from the lowest to the highest seed. Metrics recorded at every step are smoothed within each run.";
        vec![
            Section { title: "Result", body: self.table(path) },
            Section { title: "Over the steps", body: charts_with(lead, &charts) },
            Section { title: "Runs", body: self.list(path) },
        ]
    }

    fn table(&self, path: &Path) -> String {
        let columns = self.columns();
        let mut out = note_box(&self.notes);
        if columns.is_empty() {
            out.push_str("<p class=lead>None of these runs recorded an evaluation.</p>");
            return out;
        }
        push!(
            out,
            "<p class=lead>Evaluated after training, mean ± standard deviation over seeds; before training below it.</p>\
                 <div class=scroll><table><thead><tr><th>{}</th><th>seeds</th><th>steps</th>",
            self.by
        );
        for metric in &columns {
            push!(out, "<th title='{}'>{}</th>", escape(metric.meaning), metric.label);
        }
        out.push_str("</tr></thead><tbody>");
        for (group, ink) in self.groups.iter().zip(INKS.iter().cycle()) {
            push!(
                out,
                "<tr><th scope=row><svg class=key viewBox='0 0 26 8' aria-hidden=true><path class='line {ink}' \
                     d='M0 4H26'/></svg>{}</th><td>{}<br><small>{}</small></td><td>{}</td>",
                escape(&group.name),
                group.runs.len(),
                link::seeds(group.members.iter(), path),
                group.show_steps()
            );
            for metric in &columns {
                let (after, before) = group.shown(metric);
                let before = before.map(|before| format!("<br><small>{before}</small>")).unwrap_or_default();
                push!(out, "<td>{after}{before}</td>");
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table></div>");
        out
    }

    fn chart(&self, metric: &Metric) -> Option<Chart> {
        let line = |(group, ink): (&Group, &&'static str)| Series::new(&group.name, ink, group.points(metric), false);
        let lines = self.groups.iter().zip(INKS.iter().cycle()).map(line);
        let series: Vec<Series> = lines.filter(|series| series.last_finite().is_some()).collect();
        (!series.is_empty()).then(|| Chart::of(metric, series))
    }

    fn list(&self, path: &Path) -> String {
        let mut out = String::from("<ul>");
        for group in &self.groups {
            for run in &group.members {
                push!(out, "<li>{}: {}</li>", escape(&group.name), link::to_run(run, path));
            }
        }
        out + "</ul>"
    }
}

impl Group {
    fn show_steps(&self) -> String {
        let (fewest, most) = self.steps;
        let most = number(most as f64);
        if fewest == self.steps.1 { most } else { format!("{}–{most}", number(fewest as f64)) }
    }

    /// Returns the mean over the runs at every recorded step, with the lowest and the highest value as its band.
    /// Metrics that are recorded at every step are smoothed first, run by run, because noise within a run is not a
    /// difference between seeds.
    fn points(&self, metric: &Metric) -> Vec<Point> {
        let curve = |run: &Run| {
            let series = Series::new("", INKS[0], run.points(metric.name), is_smoothed(metric));
            series.trend(usize::MAX).unwrap_or(series.points)
        };
        let mut all: Vec<Point> = self.members.iter().flat_map(curve).collect();
        all.sort_by(|a, b| a.x.total_cmp(&b.x));
        let steps = all.chunk_by(|a, b| a.x == b.x);
        steps.map(|same| Point::mean(same[0].x, same.iter().map(|point| point.y))).collect()
    }
}
