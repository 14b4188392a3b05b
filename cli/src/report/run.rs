//! Reading a run back from its directory.

use std::path::PathBuf;

use anyhow::{Context, Result};
use flowrl_core::metrics::Metric;

use super::series::Point;
use crate::input::text_if_there;
use crate::metrics::{self, Record};
use crate::run_dir::RunDir;

/// The configuration and the metrics of a run.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    /// Path of `report.html`, if it exists.
    pub(crate) report: Option<PathBuf>,
    pub(crate) config: toml::Table,
    pub(crate) config_text: String,
    pub(crate) records: Vec<Record>,
}

impl Run {
    /// Reads the configuration and the metrics, either of which may be missing.
    pub(crate) fn read(dir: &RunDir) -> Result<Self> {
        let config_text = text_if_there(&dir.config())?.unwrap_or_default();
        let config = config_text.parse().with_context(|| format!("{}", dir.config().display()))?;
        let records = metrics::read_if_there(&dir.metrics())?;
        let root = dir.root().canonicalize().unwrap_or_else(|_| dir.root().to_owned());
        let name = root.file_name().map_or_else(|| root.display().to_string(), |name| name.to_string_lossy().into());
        let report = Some(dir.report()).filter(|report| report.is_file());
        Ok(Self { name, report, config, config_text, records })
    }

    /// Returns the values of a metric as `(step, value)` in the order of the steps. If a step has several values, the
    /// last counts.
    pub(crate) fn series(&self, metric: &str) -> Vec<(f64, f64)> {
        let pairs = self.records.iter().filter_map(|record| Some((record.step()? as f64, record.number(metric)?)));
        let mut pairs: Vec<_> = pairs.collect();
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0));
        pairs.dedup_by(|later, kept| {
            let same = later.0 == kept.0;
            if same {
                *kept = *later;
            }
            same
        });
        pairs
    }

    /// Returns the values of a metric as the points of a line.
    pub(crate) fn points(&self, metric: &str) -> Vec<Point> {
        self.series(metric).into_iter().map(Point::new).collect()
    }

    /// Returns the first and the last finite value of a metric, each as `(step, value)`. They are the same if there is
    /// only one.
    pub(crate) fn ends(&self, metric: &str) -> Option<((f64, f64), (f64, f64))> {
        let finite: Vec<_> = self.series(metric).into_iter().filter(|(_, value)| value.is_finite()).collect();
        Some((*finite.first()?, *finite.last()?))
    }

    /// Returns the last target value of a metric.
    pub(crate) fn target(&self, metric: &Metric) -> Option<f64> {
        metrics::target(metric, |name| self.ends(name).map(|(_, last)| last.1))
    }

    /// Returns the names of all numeric metrics, in order of appearance.
    pub(crate) fn metrics(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in self.records.iter().flat_map(Record::numbers) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// Returns the names of the metrics with a finite value.
    pub(crate) fn measured(&self) -> impl Iterator<Item = &str> {
        self.metrics().into_iter().filter(|name| self.ends(name).is_some())
    }

    /// Returns the string at `[table] key` of the configuration.
    pub(crate) fn setting(&self, table: &str, key: &str) -> Option<&str> {
        self.config.get(table)?.get(key)?.as_str()
    }

    /// Returns the run's seed, `train.seed`, or `seed` at the top level.
    pub(crate) fn seed(&self) -> Option<i64> {
        let seed = self.config.get("train").and_then(|train| train.get("seed")).or_else(|| self.config.get("seed"));
        seed?.as_integer()
    }

    /// Returns the objective's name: its preset, else its kind, else the directory's name without the seed.
    pub(crate) fn objective(&self) -> &str {
        let configured = self.setting("objective", "preset").or_else(|| self.setting("objective", "kind"));
        configured.unwrap_or_else(|| self.name.split_once("-seed").map_or(self.name.as_str(), |(name, _)| name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_several_values_at_one_step_counts() {
        let record = |step, value: f64| Record::new(step).set("loss", value).clone();
        let records = vec![record(2, 5.0), record(1, 9.0), record(2, f64::NAN), record(2, 4.0), record(3, f64::NAN)];
        let config = toml::Table::new();
        let run = Run { name: "a-seed1".into(), report: None, config, config_text: String::new(), records };
        assert_eq!(run.series("loss")[..2], [(1.0, 9.0), (2.0, 4.0)]);
        assert_eq!(run.ends("loss"), Some(((1.0, 9.0), (2.0, 4.0))));
        assert_eq!(run.ends("reward_mean"), None);
        assert_eq!(run.objective(), "a");
    }
}
