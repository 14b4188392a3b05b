//! A section of charts for each chapter of the table of metrics.

use flowrl_core::metrics::{self, CHAPTERS, Chart as Place, Metric, Source};

use super::chart::{Along, Chart, INKS};
use super::page::Section;
use super::run::Run;
use super::series::Series;
use crate::format::{escape, push};
use crate::metrics::{error_name, get, of_error, of_its_set, sets};

/// Returns one section per chapter with the charts of the recorded metrics, those of named sets of prompts after the
/// others. Metrics that the table does not list come last.
pub(crate) fn render(run: &Run) -> Vec<Section> {
    let all = sets::all_with(run.metrics());
    let mut sections: Vec<Section> = CHAPTERS
        .iter()
        .map(|chapter| {
            let of_chapter = |metric: &&&'static Metric| {
                let name = sets::split(metric.name).map_or(metric.name, |(_, base)| base.name);
                chapter.metrics.iter().any(|own| own.name == name)
            };
            let metrics = all.iter().filter(of_chapter);
            let charts: Vec<Chart> = metrics.filter_map(|metric| chart(run, metric, &all)).collect();
            Section { title: chapter.title, body: charts_with(chapter.lead, &charts) }
        })
        .collect();
    let unknown = run.metrics().into_iter().filter(|name| get(name).is_none() && of_error(name).is_none());
    let others: Vec<Chart> = unknown
        .map(|name| Chart {
            title: name.to_owned(),
            unit: "",
            about: String::new(),
            series: vec![Series::new(name, "accent", run.points(name), true)],
            target: None,
            may_log: false,
            range: (f64::NEG_INFINITY, f64::INFINITY),
            along: Along::Steps,
        })
        .filter(|chart| chart.series[0].last_finite().is_some())
        .collect();
    sections.push(Section { title: "Other metrics", body: charts_with("Recorded by this run.", &others) });
    sections
}

/// Returns a lead and a grid of charts, with one line for all those that never change. The result is empty without
/// charts.
pub(crate) fn charts_with(lead: &str, charts: &[Chart]) -> String {
    if charts.is_empty() {
        return String::new();
    }
    let mut body = format!("<p class=lead>{lead}</p><div class=grid-of-charts>");
    charts.iter().filter(|chart| chart.constant().is_none()).for_each(|chart| chart.render(&mut body));
    body.push_str("</div>");
    let constants = charts.iter().filter_map(|chart| Some((chart, chart.constant()?)));
    let constants =
        constants.map(|(chart, said)| format!("<span title='{}'>{}</span>", escape(&chart.about), escape(&said)));
    let constants: Vec<String> = constants.collect();
    if !constants.is_empty() {
        push!(body, "<p class=about>Constant: {}.</p>", constants.join("; "));
    }
    body
}

/// Returns the chart of a metric and of those drawn on it, or `None` if none of them was ever finite.
fn chart(run: &Run, own: &'static Metric, all: &[&'static Metric]) -> Option<Chart> {
    if own.chart != Place::Own {
        return None;
    }
    let guests = all.iter().copied().filter(|guest| guest.chart == Place::On(own.name));
    let lines = std::iter::once(own).chain(guests).filter(|metric| run.ends(metric.name).is_some());
    let lines: Vec<&'static Metric> = lines.collect();
    let inks: &[&'static str] = if lines.len() <= 2 { &["accent", "second"] } else { &INKS };
    let line = |(metric, ink): (&&'static Metric, &&'static str)| {
        Series::new(of_its_set(metric).1, ink, run.points(metric.name), is_smoothed(metric))
    };
    let mut series: Vec<Series> = lines.iter().zip(inks).map(line).collect();
    let first = series.first_mut()?;
    let mut about = lines[0].meaning.to_owned();
    add_band(run, lines[0], first, &mut about);
    if first.reach() > 0 {
        about += &format!(" Bold: trend over {} records.", 2 * first.reach() + 1);
    }
    // A logarithmic axis cannot show 0.
    let target = run.target(lines[0]).filter(|target| *target != 0.0 || !own.log);
    let titles: Vec<&str> = lines.iter().map(|metric| of_its_set(metric).1).collect();
    let set = of_its_set(own).0.map(|set| format!(" ({set})")).unwrap_or_default();
    Some(Chart {
        title: titles.join(" · ") + &set,
        about,
        target: target.map(|target| ("target", target)),
        range: lines.iter().fold(lines[0].range, |(low, high), m| (low.min(m.range.0), high.max(m.range.1))),
        ..Chart::of(own, series)
    })
}

/// Returns whether a long curve of a metric gets a trend line. This is so if the metric has the noise of a batch.
pub(crate) fn is_smoothed(metric: &Metric) -> bool {
    !metric.evaluated && metric.source != Source::Exact
}

/// Gives a line the band of the metrics drawn around it, clamped to the possible range, and describes it in `about`.
fn add_band(run: &Run, metric: &Metric, series: &mut Series, about: &mut String) {
    let values = |place| {
        let drawn = metrics::all().find(|other| other.chart == place);
        drawn.map_or_else(Vec::new, |other| run.series(other.name))
    };
    let errors = run.series(&error_name(metric.name));
    let [spread, low, high] = [Place::Spread, Place::Low, Place::High].map(|place| values(place(metric.name)));
    let at = |values: &[(f64, f64)], step: f64| {
        let index = values.binary_search_by(|(x, _)| x.total_cmp(&step)).ok()?;
        values.get(index).map(|(_, value)| *value)
    };
    for point in &mut series.points {
        let around = || at(&spread, point.x).map(|spread| (point.y - spread, point.y + spread));
        let interval = || at(&errors, point.x).map(|error| (point.y - 2.0 * error, point.y + 2.0 * error));
        let ends = at(&low, point.x).zip(at(&high, point.x)).or_else(around).or_else(interval);
        let ends = ends.filter(|(low, high)| low.is_finite() && high.is_finite());
        point.band = ends.map(|(low, high)| (low.max(metric.range.0), high.min(metric.range.1)));
    }
    if series.has_band() {
        let band = if !errors.is_empty() {
            "± two standard errors over prompts"
        } else if spread.is_empty() {
            "smallest to largest of the batch"
        } else {
            "± one standard deviation over the batch"
        };
        *about += &format!(" Band: {band}.");
    }
}
