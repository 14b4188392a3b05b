//! The table of metrics: every number that a run records, described once.
//!
//! Reports, comparisons, sweeps, the terminal, the documentation and the page in the browser take names, labels, units, meanings and
//! axes from [`CHAPTERS`]. A new metric is one row there, next to the code that computes it.
//!
//! ```
//! use flowrl_core::metrics::{self, Better, Source};
//!
//! let tv = metrics::get("tv").unwrap();
//! assert_eq!((tv.label, tv.range, tv.better, tv.source), ("Total variation", (0.0, 1.0), Better::Down, Source::Exact));
//! assert!(metrics::all().any(|metric| metric.name == "loss") && metrics::get("no such metric").is_none());
//! ```

mod table;

pub use table::CHAPTERS;

/// Metrics of one subject.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Chapter {
    /// Its heading.
    pub title: &'static str,
    /// The subject in a sentence or two.
    pub lead: &'static str,
    /// Its metrics, in the order in which they are shown.
    pub metrics: &'static [Metric],
}

/// One row of the table.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name in a record.
    pub name: &'static str,
    /// Its name for readers: the title of a chart or the head of a column. No two metrics share one.
    pub label: &'static str,
    /// Its unit, empty if it has none. A `fraction` is shown as a percentage.
    pub unit: &'static str,
    /// A sentence that defines it.
    pub meaning: &'static str,
    /// The least and the largest possible value, infinite if there is no bound.
    pub range: (f64, f64),
    /// Which way is better.
    pub better: Better,
    /// Its value once the policy has reached the objective's target.
    pub target: Option<Target>,
    /// Where its value comes from.
    pub source: Source,
    /// Whether it is measured by evaluations alone, so that its first and last value are the result of a run.
    pub evaluated: bool,
    /// Whether only its order of magnitude matters while it spans decades: its axis may then be logarithmic.
    pub log: bool,
    /// How it is drawn.
    pub chart: Chart,
    /// How prominent it is.
    pub rank: Rank,
}

/// Which way a metric gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// More is better.
    Up,
    /// Less is better.
    Down,
    /// Closer to its target is better, from either side.
    Closer,
    /// Neither way: a fact to know.
    Neither,
}

/// The value that a metric should reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// 0.
    Zero,
    /// The value of the metric of this name in the same run.
    Metric(&'static str),
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Computed without sampling error: a function of the policy, a setting or a count.
    Exact,
    /// Estimated from the completions that were drawn: another draw gives another value.
    Sampled,
    /// Read from a clock: it depends on the machine.
    Clock,
}

/// How a metric is drawn over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// On a chart of its own.
    Own,
    /// As a further line on the chart of the metric of this name.
    On(&'static str),
    /// As a band of ± its value around that metric.
    Spread(&'static str),
    /// As the lower end of a band around that metric.
    Low(&'static str),
    /// As the upper end of a band around that metric.
    High(&'static str),
    /// Not at all: it is an axis, or the target of another metric.
    Hidden,
}

/// How prominent a metric is; each rank includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// It stands in the report of its run.
    Detail,
    /// It also stands in comparisons of runs.
    Compared,
    /// It also stands in large type at the head of a report.
    Headline,
}

impl Metric {
    /// The name of the metric whose value is its target.
    #[must_use]
    pub const fn target_metric(&self) -> Option<&'static str> {
        match self.target {
            Some(Target::Metric(name)) => Some(name),
            _ => None,
        }
    }
}

/// Every metric, chapter by chapter.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    CHAPTERS.iter().flat_map(|chapter| chapter.metrics)
}

/// The metric of this name.
#[must_use]
pub fn get(name: &str) -> Option<&'static Metric> {
    all().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_unique_and_meanings_are_sentences() {
        for (i, metric) in all().enumerate() {
            let Metric { name, label, meaning, range, .. } = *metric;
            assert!(all().skip(i + 1).all(|other| other.name != name && other.label != label), "{name} stands twice");
            assert!(!name.is_empty() && name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{name}");
            assert!(!label.is_empty() && meaning.ends_with('.') && !meaning.contains(". "), "{name}: {meaning}");
            assert!(range.0 < range.1 && (metric.unit != "fraction" || range == (0.0, 1.0)), "{name}: {range:?}");
        }
    }

    #[test]
    fn rows_refer_to_rows() {
        for metric in all() {
            let name = metric.name;
            if let Some(target) = metric.target_metric() {
                let target = get(target).unwrap_or_else(|| panic!("{name} should reach {target}, which has no row"));
                assert_eq!((target.unit, target.chart), (metric.unit, Chart::Hidden), "{name} and its target");
            }
            assert!(metric.better != Better::Closer || metric.target.is_some(), "{name} comes closer to nothing");
            match metric.chart {
                Chart::On(of) | Chart::Spread(of) | Chart::Low(of) | Chart::High(of) => {
                    let own = get(of).unwrap_or_else(|| panic!("{name} is drawn on {of}, which has no row"));
                    assert_eq!((own.chart, own.unit), (Chart::Own, metric.unit), "{name} is drawn on {of}");
                }
                Chart::Own | Chart::Hidden => {}
            }
        }
    }
}
