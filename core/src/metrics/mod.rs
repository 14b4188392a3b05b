//! The table of metrics, which describes every number that a run records.
//!
//! Reports, comparisons, sweeps, the terminal, the documentation and the browser page take names, labels, units,
//! meanings and axes from [`CHAPTERS`]. A new metric needs one row there, as well as the code that computes it.
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

/// The metrics of one subject.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Chapter {
    /// Heading of the chapter.
    pub title: &'static str,
    /// Description of the subject in a sentence or two.
    pub lead: &'static str,
    /// The metrics, in the order in which they are shown.
    pub metrics: &'static [Metric],
}

/// One row of the table of metrics.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Name of the metric in a record.
    pub name: &'static str,
    /// Name of the metric for readers: the title of a chart or the head of a column. No two metrics share a label.
    pub label: &'static str,
    /// Unit of the metric, empty if it has none. A `fraction` is shown as a percentage.
    pub unit: &'static str,
    /// Definition of the metric in one sentence.
    pub meaning: &'static str,
    /// Smallest and largest possible value, infinite if there is no bound.
    pub range: (f64, f64),
    /// Direction in which the metric improves.
    pub better: Better,
    /// Value of the metric once the policy has reached the objective's target, if that is known.
    pub target: Option<Target>,
    /// Origin of the metric's values.
    pub source: Source,
    /// Whether only evaluations measure the metric, so that its first and last value are the result of a run.
    pub evaluated: bool,
    /// Whether only the metric's order of magnitude matters while it spans decades. Its axis may then be logarithmic.
    pub log: bool,
    /// How the metric is drawn over the steps.
    pub chart: Chart,
    /// How prominently the metric is shown.
    pub rank: Rank,
}

/// The direction in which a metric improves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// Larger values are better.
    Up,
    /// Smaller values are better.
    Down,
    /// Values closer to the target are better, from either side.
    Closer,
    /// Neither direction is better; the metric is for information.
    Neither,
}

/// The value that a metric should reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The value 0.
    Zero,
    /// The value of the metric of this name in the same run.
    Metric(&'static str),
}

/// The origin of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The value has no sampling error: it is a function of the policy, a setting or a count.
    Exact,
    /// The value is estimated from the sampled completions; another sample gives another value.
    Sampled,
    /// The value is read from a clock and depends on the machine.
    Clock,
}

/// How a metric is drawn over the steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chart {
    /// On its own chart.
    Own,
    /// As a further line on the chart of the metric of this name.
    On(&'static str),
    /// As a band of ± its value around that metric.
    Spread(&'static str),
    /// As the lower end of a band around that metric.
    Low(&'static str),
    /// As the upper end of a band around that metric.
    High(&'static str),
    /// Not drawn, because the metric is an axis or the target of another metric.
    Hidden,
}

/// How prominently a metric is shown. Each rank includes the ranks before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rank {
    /// The metric is in the report of its run.
    Detail,
    /// The metric is also in comparisons of runs.
    Compared,
    /// The metric is also in large type at the head of a report.
    Headline,
}

impl Metric {
    /// Returns the name of the metric that gives this metric's target.
    pub const fn target_metric(&self) -> Option<&'static str> {
        match self.target {
            Some(Target::Metric(name)) => Some(name),
            _ => None,
        }
    }
}

/// Iterates over every metric, chapter by chapter.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    CHAPTERS.iter().flat_map(|chapter| chapter.metrics)
}

/// Returns the metric of this name.
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
