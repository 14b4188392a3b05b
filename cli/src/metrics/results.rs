//! Uses of the table of metrics: the result of a run, for the terminal and for the pages, and the table itself in
//! Markdown.

use std::collections::BTreeSet;

use flowrl_core::metrics::{Better, CHAPTERS, Chart, Metric, Rank, Source, Target};

use super::{Record, sets};
use crate::format::{number, push, quantity};

/// Returns the metrics, among those that a run has, that make up its result by their first and last values. These are
/// the metrics of evaluations, set by set, and, in the lab, the error of log Z: it is exact there, but elsewhere an
/// estimate from each batch.
pub(crate) fn results<'a>(names: impl IntoIterator<Item = &'a str>) -> impl Iterator<Item = &'static Metric> {
    let names: BTreeSet<&str> = names.into_iter().collect();
    let is_lab = names.contains("tv");
    let is_result = |metric: &Metric| metric.evaluated || (is_lab && metric.name == "log_z_error");
    let has = |metric: &&Metric| is_result(metric) && metric.chart != Chart::Hidden && names.contains(metric.name);
    sets::all_with(names.iter().copied()).into_iter().filter(has).collect::<Vec<_>>().into_iter()
}

/// Suffix for the standard error, over prompts, of a metric of held-out samples.
const ERROR: &str = "_se";

/// Returns the name under which the standard error of a metric is recorded.
pub(crate) fn error_name(metric: &str) -> String {
    format!("{metric}{ERROR}")
}

/// Returns the metric whose standard error has this name, if there is one.
pub(crate) fn of_error(name: &str) -> Option<&'static Metric> {
    sets::get(name.strip_suffix(ERROR)?).filter(|metric| metric.evaluated && metric.source == Source::Sampled)
}

/// Formats a recorded value with its unit and, if it was recorded, its standard error.
pub(crate) fn quantity_with_error(record: &Record, metric: &str, unit: &str) -> String {
    let error = record.number(&error_name(metric));
    record.number(metric).map_or_else(|| "–".to_owned(), |x| with_error(x, error, unit))
}

/// Formats a value with its unit and, if it has one, its standard error.
pub(crate) fn with_error(x: f64, error: Option<f64>, unit: &str) -> String {
    quantity(x, unit) + &error.map(|error| format!(" ± {}", quantity(error, unit))).unwrap_or_default()
}

/// Returns a line with the headline metrics of a record, each set after its name, or `None` if it has none.
pub(crate) fn headlines(record: &Record) -> Option<String> {
    let mut last = None;
    let measured = results(record.numbers().map(|(name, _)| name)).filter(|metric| metric.rank == Rank::Headline);
    let parts = measured.map(|metric| {
        let value = quantity_with_error(record, metric.name, metric.unit);
        let (set, label) = of_its_set(metric);
        let begins = if set == last { String::new() } else { set.map(|set| format!("{set}: ")).unwrap_or_default() };
        last = set;
        format!("{begins}{} {value}", label.to_lowercase())
    });
    Some(parts.collect::<Vec<_>>().join("; ")).filter(|line| !line.is_empty())
}

/// Returns the named set of a metric, if it has one, and its label there.
pub(crate) fn of_its_set(metric: &'static Metric) -> (Option<&'static str>, &'static str) {
    sets::split(metric.name).map_or((None, metric.label), |(set, base)| (Some(set), base.label))
}

/// Returns the target of a metric, if this is known. The target may be another metric, which is looked up with `value`.
pub(crate) fn target(metric: &Metric, value: impl FnOnce(&str) -> Option<f64>) -> Option<f64> {
    match metric.target? {
        Target::Zero => Some(0.0),
        Target::Metric(name) => value(name),
    }
}

/// Returns the first and the last evaluation on a set next to each other, as lines for a terminal. There are none with
/// fewer than two evaluations.
pub(crate) fn before_and_after(title: &str, set: Option<&str>, records: &[Record]) -> Vec<String> {
    let results = |record: &Record| {
        let all = results(record.numbers().map(|(name, _)| name));
        all.filter(|metric| of_its_set(metric).0 == set).collect::<Vec<_>>()
    };
    let evaluated: Vec<_> = records.iter().filter(|record| !results(record).is_empty()).collect();
    let [before, .., after] = evaluated[..] else { return Vec::new() };
    // The unit appears once, after the label; only percentages keep it in the cells.
    let of_cells = |metric: &Metric| if metric.unit == "fraction" { metric.unit } else { "" };
    let label = |metric: &'static Metric| match metric.unit {
        "" | "fraction" => of_its_set(metric).1.to_owned(),
        unit => format!("{}, {unit}", of_its_set(metric).1),
    };
    let shown = |record: &Record, metric: &Metric| quantity_with_error(record, metric.name, of_cells(metric));
    let mut table = vec![[title, "before", "after", "target"].map(str::to_owned)];
    for metric in results(after) {
        let target =
            target(metric, |name| after.number(name)).map_or_else(String::new, |x| quantity(x, of_cells(metric)));
        table.push([label(metric), shown(before, metric), shown(after, metric), target]);
    }
    // The columns are as narrow as their contents: a terminal may have only 60 characters per line.
    let widths = [0, 1, 2, 3].map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let line = |[label, before, after, target]: &[String; 4]| {
        let [a, b, c, d] = widths;
        format!("{label:a$}  {before:>b$}  {after:>c$}  {target:>d$}")
    };
    table.iter().map(line).collect()
}

/// Returns the table of metrics in Markdown, as it is in `docs/metrics.md`.
pub fn markdown_tables() -> String {
    let mut out = String::new();
    for chapter in CHAPTERS {
        push!(out, "\n## {}\n\n{}\n\n", chapter.title, chapter.lead);
        out.push_str("| metric | label | unit | range | better | target | source | meaning |\n|---|---|---|---|---|---|---|---|\n");
        for metric in chapter.metrics {
            let better = match metric.better {
                Better::Up => "more",
                Better::Down => "less",
                Better::Closer => "closer",
                Better::Neither => "",
            };
            let target = match metric.target {
                Some(Target::Zero) => "0".to_owned(),
                Some(Target::Metric(name)) => format!("`{name}`"),
                None => String::new(),
            };
            let source = match metric.source {
                Source::Exact => "exact",
                Source::Sampled => "sampled",
                Source::Clock => "clock",
            };
            let range = match metric.range {
                (least, largest) if largest.is_finite() => format!("{} to {}", number(least), number(largest)),
                (least, _) if least.is_finite() => format!("from {}", number(least)),
                _ => String::new(),
            };
            let Metric { name, label, unit, meaning, .. } = metric;
            let meaning = meaning.replace('|', "\\|");
            push!(out, "| `{name}` | {label} | {unit} | {range} | {better} | {target} | {source} | {meaning} |\n");
        }
    }
    out
}
