//! The best checkpoint of a run by one metric (`run.best`), and stopping once that metric no longer improves
//! (`run.patience`).
//!
//! The best checkpoint is not recorded in a file of its own: it is that of the best evaluation in `metrics.jsonl` among
//! the steps with a checkpoint. A run writes a checkpoint at each evaluation that is better than all before it.
//! Rotation spares this checkpoint for as long as it is the best one up to any of the checkpoints kept, so that a run
//! that continues from any of these finds it too.

use std::path::Path;

use anyhow::{Result, bail, ensure};
use flowrl_core::metrics::{self, Better, Metric, Source};
use toml::Table;

use super::RunDir;
use crate::config::Config;
use crate::metrics::{Record, error_name, get, quantity_with_error, sets, target};
use crate::warn;

/// The name that, after the directory of a run, stands for its best checkpoint.
pub(crate) const BEST: &str = "best";
/// The prefix of metrics measured on held-out prompts. Metrics of the lab have no such prefix.
const OF_TEXT: &str = "eval_";

/// One evaluation, measured by the metric of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Evaluation {
    pub(crate) step: u64,
    pub(crate) value: f64,
    /// Standard error over prompts, if the metric is sampled.
    pub(crate) error: Option<f64>,
    /// Score of the value, of which more is better. It is NaN, which is never the best, if the value is not finite.
    score: f64,
    /// Value and standard error with the unit, for people.
    shown: String,
}

/// The evaluations of a run by the metric that `run.best` names. The policy before the first step is left out, because
/// it is not a checkpoint.
#[derive(Debug)]
pub(crate) struct Best {
    pub(crate) metric: &'static Metric,
    /// Evaluations in a row without improvement that end the run; 0 means never.
    patience: u64,
    evaluations: Vec<Evaluation>,
    /// The best evaluation with a policy that is or will be kept.
    pub(crate) found: Option<Evaluation>,
    /// Whether the last evaluation may end the run. It may not if it was made before the number of steps changed.
    may_stop: bool,
}

/// Checks `run.best` and `run.patience`.
pub(crate) fn check(config: &Config) -> Result<()> {
    let Some(name) = &config.run.best else {
        ensure!(
            config.run.patience == 0,
            "run.patience is {}, but run.best names no metric that could improve: set run.best too",
            config.run.patience
        );
        return Ok(());
    };
    let is_lab = config.task.kind.is_lab();
    let is_measured = |metric: &Metric| {
        let (set, name) = match sets::split(metric.name) {
            Some((set, base)) => (Some(set), base.name),
            None => (None, metric.name),
        };
        let samples = name.strip_prefix("eval_pass_at_").and_then(|k| k.parse::<usize>().ok());
        samples.is_none_or(|k| k <= config.eval.samples)
            && (config.eval.greedy || name != "eval_success_greedy")
            && (is_lab || config.measured_sets().contains(&set))
    };
    let of_task = |m: &Metric| is_directed(m) && m.name.starts_with(OF_TEXT) != is_lab && is_measured(m);
    if !named(name).is_some_and(of_task) {
        let why = match get(&format!("{OF_TEXT}{name}")).or_else(|| get(name)) {
            None => "there is no such metric",
            Some(metric) if !metric.evaluated => "it is not measured by evaluations",
            Some(metric) if metric.better == Better::Neither => "neither more nor less of it is better",
            Some(_) => "the evaluations of this run do not measure it",
        };
        // Leave out metrics that only the page in the browser records.
        let recorded = |metric: &&Metric| of_task(metric) && !metric.meaning.starts_with("Browser:");
        let of_sets = config.eval.sets.keys().flat_map(|set| sets::rows(set));
        let known: Vec<&str> = metrics::all().chain(of_sets).filter(recorded).map(|metric| metric.name).collect();
        bail!("run.best is {name:?}, but {why}: choose one of {}", known.join(", "));
    }
    ensure!(
        config.eval.every > 0,
        "run.best compares evaluations, but eval.every is 0: set it to some number of steps"
    );
    ensure!(
        is_lab || config.eval.prompts > 0,
        "run.best compares evaluations, but eval.prompts is 0, so there are none"
    );
    Ok(())
}

/// Refuses a metric that the last evaluation of a run lacks, unless the options of evaluations have changed.
pub(crate) fn check_recorded(directory: &RunDir, config: &Config) -> Result<()> {
    let Some(metric) = config.run.best.as_deref().and_then(named) else { return Ok(()) };
    let before: Table = std::fs::read_to_string(directory.config()).unwrap_or_default().parse()?;
    let now: Table = config.to_toml()?.parse()?;
    if before.get("eval") != now.get("eval") {
        return Ok(());
    }
    let records = crate::metrics::read_if_there(&directory.metrics())?;
    match records.iter().rfind(|record| can_be_taken(record).next().is_some()) {
        Some(last) if score(metric, last).is_none() => bail!("{}", missing(metric, last)),
        _ => Ok(()),
    }
}

impl Best {
    /// Collects the evaluations of a run from its records. Returns `None` if its configuration has no `run.best`.
    pub(crate) fn of(config: &Table, records: &[Record], checkpoints: &[u64]) -> Option<Self> {
        let run = config.get("run")?;
        let patience = run.get("patience").and_then(toml::Value::as_integer).and_then(|n| n.try_into().ok());
        let metric = named(run.get("best")?.as_str()?)?;
        let evaluations = records.iter().filter_map(|record| Evaluation::of(metric, record)).collect();
        let mut best = Self { metric, patience: patience.unwrap_or(0), evaluations, found: None, may_stop: true };
        best.found = best.up_to(u64::MAX, checkpoints).cloned();
        Some(best)
    }

    /// Reads the evaluations of the run in a directory from its files. Returns `None` if the run has no `run.best`.
    pub(crate) fn read(directory: &RunDir) -> Result<Option<Self>> {
        let config: Table = std::fs::read_to_string(directory.config()).unwrap_or_default().parse()?;
        let records = crate::metrics::read_if_there(&directory.metrics())?;
        Ok(Self::of(&config, &records, &directory.steps()?))
    }

    /// Collects the evaluations of a run that begins or continues; `before` is the configuration that it last ran with.
    pub(crate) fn open(
        config: &Config,
        directory: &RunDir,
        records: &[Record],
        before: Option<&str>,
    ) -> Result<Option<Self>> {
        let steps = |text: &str| text.parse::<Table>().ok()?.get("train")?.get("steps")?.as_integer();
        let resolved = config.to_toml()?;
        let best = Self::of(&resolved.parse()?, records, &directory.steps()?);
        let may_stop = before.is_none_or(|before| steps(before) == steps(&resolved));
        Ok(best.map(|best| Self { may_stop, ..best }))
    }

    /// Takes an evaluation into account.
    pub(crate) fn add(&mut self, record: &Record) -> Result<()> {
        if score(self.metric, record).is_none() {
            let missing = missing(self.metric, record);
            ensure!(record.step() != Some(0), "{missing}");
            warn!("{missing}; this step cannot become the best");
        }
        if let Some(evaluation) = Evaluation::of(self.metric, record) {
            if self.found.as_ref().map_or(!evaluation.score.is_nan(), |found| evaluation.score > found.score) {
                self.found = Some(evaluation.clone());
            }
            self.evaluations.push(evaluation);
            self.may_stop = true;
        }
        Ok(())
    }

    /// Returns whether the best evaluation is that of this step.
    pub(crate) fn is_at(&self, step: u64) -> bool {
        self.found.as_ref().is_some_and(|found| found.step == step)
    }

    /// Returns whether the run ends at this step, because its evaluation is the last of `patience` ones without
    /// improvement.
    pub(crate) fn stops_at(&self, step: u64) -> bool {
        let is_last = self.evaluations.last().is_some_and(|last| last.step == step);
        self.patience > 0 && self.may_stop && is_last && self.without_improvement() >= self.patience
    }

    fn without_improvement(&self) -> u64 {
        let best = self.found.as_ref().map_or(0, |found| found.step);
        self.evaluations.iter().filter(|evaluation| evaluation.step > best).count() as u64
    }

    /// Returns the checkpoints that rotation must spare: the best one up to each of the newest `keep`. `checkpoints`
    /// must be in ascending order.
    pub(crate) fn spared(&self, checkpoints: &[u64], keep: usize) -> Vec<u64> {
        let kept = &checkpoints[checkpoints.len().saturating_sub(keep.max(1))..];
        kept.iter().filter_map(|last| Some(self.up_to(*last, checkpoints)?.step)).collect()
    }

    /// Returns the best evaluation up to a step among those with a checkpoint, and the first one of equals.
    fn up_to(&self, step: u64, checkpoints: &[u64]) -> Option<&Evaluation> {
        let candidates = self.evaluations.iter().filter(|e| e.step <= step && checkpoints.contains(&e.step));
        candidates.filter(|e| !e.score.is_nan()).reduce(|best, e| if e.score > best.score { e } else { best })
    }

    /// Describes the best checkpoint in a line.
    pub(crate) fn line(&self) -> Option<String> {
        let Evaluation { step, shown, .. } = self.found.as_ref()?;
        Some(format!("best checkpoint: step {step}, {} {shown}", self.metric.name))
    }

    /// Describes for people, line by line, the best checkpoint of the run in a directory and why the run stopped.
    pub(crate) fn summary(&self, root: &Path, step: u64, steps: u64) -> Vec<String> {
        // Only the run itself can read models of the lab.
        let is_model = self.metric.name.starts_with(OF_TEXT);
        let name =
            if is_model { format!("; load it with --model {}", root.join(BEST).display()) } else { String::new() };
        let taken = self.line().map(|line| line + &name);
        let stopped = self.why_stopped(step, steps).map(|why| {
            format!("{why}; --resume continues it with a larger run.patience (now {}) or more --steps", self.patience)
        });
        taken.into_iter().chain(stopped).collect()
    }

    /// Returns a line that says why the run has ended before its last step, or `None` if it has not.
    pub(crate) fn why_stopped(&self, step: u64, steps: u64) -> Option<String> {
        let count = self.without_improvement();
        let best = self.found.as_ref().map(|found| format!("; best {} at step {}", found.shown, found.step));
        (step < steps && self.stops_at(step)).then(|| {
            format!(
                "stopped at step {step} of {steps}: {} has not improved for {count} evaluation{}{}",
                self.metric.name,
                if count == 1 { "" } else { "s" },
                best.unwrap_or_default()
            )
        })
    }

    /// Adds the best evaluation and the reason of an early stop to the last record, for scripts.
    pub(crate) fn write(&self, summary: &mut Record, step: u64, steps: u64) {
        if step < steps && self.stops_at(step) {
            summary.set("stopped", "patience");
        }
        let Some(found) = &self.found else { return };
        summary.set("best", self.metric.name).set("best_step", found.step as f64).set("best_value", found.value);
        if let Some(error) = found.error {
            summary.set("best_value_se", error);
        }
    }
}

impl Evaluation {
    fn of(metric: &Metric, record: &Record) -> Option<Self> {
        let step = record.step().filter(|step| *step > 0)?;
        let (score, value) = (score(metric, record)?, record.number(metric.name)?);
        let error = record.number(&error_name(metric.name));
        Some(Self { step, value, error, score, shown: quantity_with_error(record, metric.name, metric.unit) })
    }
}

/// Returns the metric of evaluations that `run.best` names. The prefix `eval_` may be left out.
fn named(name: &str) -> Option<&'static Metric> {
    let prefixed = format!("{OF_TEXT}{name}");
    [name, &prefixed].into_iter().filter_map(get).find(|metric| is_directed(metric))
}

/// Returns whether evaluations can be ordered by `metric`.
fn is_directed(metric: &Metric) -> bool {
    metric.evaluated && metric.better != Better::Neither && metric.source != Source::Clock
}

/// Returns the score of a record by a metric, of which more is better. The score is NaN if the value is not finite, and
/// `None` if the record lacks it.
fn score(metric: &Metric, record: &Record) -> Option<f64> {
    let value = record.number(metric.name)?;
    let score = match metric.better {
        Better::Up => value,
        Better::Down => -value,
        Better::Closer => -(value - target(metric, |name| record.number(name))?).abs(),
        Better::Neither => return None,
    };
    Some(if score.is_finite() { score } else { f64::NAN })
}

/// Returns the metrics that an evaluation has and `run.best` can name.
fn can_be_taken(record: &Record) -> impl Iterator<Item = &'static str> {
    let takes = |metric: &&Metric| is_directed(metric) && score(metric, record).is_some();
    sets::all_with(record.numbers().map(|(name, _)| name)).into_iter().filter(takes).map(|metric| metric.name)
}

fn missing(metric: &Metric, record: &Record) -> String {
    let known: Vec<&str> = can_be_taken(record).collect();
    let name = metric.name;
    format!("run.best is {name}, which the evaluations of this run do not record; they have {}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best(metric: &str, values: &[(u64, f64)], checkpoints: &[u64]) -> Best {
        let config = format!("[run]\nbest = \"{metric}\"\npatience = 2").parse().unwrap();
        let name = named(metric).unwrap().name;
        let records = values.iter().map(|(step, value)| Record::new(*step).set(name, *value).clone());
        Best::of(&config, &records.collect::<Vec<_>>(), checkpoints).unwrap()
    }

    fn step(best: &Best) -> Option<u64> {
        best.found.as_ref().map(|found| found.step)
    }

    #[test]
    fn the_best_follows_the_direction_and_is_a_number_of_a_checkpoint() {
        let values = [(0, 0.9), (10, 0.3), (20, f64::NAN), (30, 0.5), (40, 0.5), (50, 0.4)];
        let all = [10, 20, 30, 40, 50];
        assert_eq!(step(&best("success", &values, &all)), Some(30), "the first of equals");
        assert_eq!(step(&best("eval_success", &values, &[10, 20, 50])), Some(50));
        assert_eq!(step(&best("tv", &values, &all)), Some(10));
        assert_eq!(step(&best("tv", &[(10, f64::NAN), (20, f64::INFINITY)], &[10, 20])), None);
        let mut found = best("success", &[], &[]);
        for (value, wanted) in [(f64::NAN, None), (0.2, Some(2)), (f64::INFINITY, Some(2)), (0.3, Some(4))] {
            let next = found.evaluations.len() as u64 + 1;
            found.add(Record::new(next).set("eval_success", value)).unwrap();
            assert_eq!(step(&found), wanted, "{value}");
        }
    }

    #[test]
    fn closer_to_the_target_is_better_from_either_side() {
        let config = "[run]\nbest = \"entropy\"".parse().unwrap();
        let record = |step, x: f64| Record::new(step).set("entropy", x).set("target_entropy", 2.0).clone();
        let records = [record(1, 1.0), record(2, 2.5), record(3, 4.0)];
        assert_eq!(step(&Best::of(&config, &records, &[1, 2, 3]).unwrap()), Some(2));
    }

    #[test]
    fn patience_counts_evaluations_and_asks_at_the_last_one() {
        let mut found = best("success", &[(10, 0.3), (20, 0.5), (30, 0.5)], &[10, 20, 30]);
        assert!(!found.stops_at(30) && found.why_stopped(30, 99).is_none());
        found.add(Record::new(40).set("eval_success", f64::NAN)).unwrap();
        assert!(found.stops_at(40) && !found.stops_at(45), "a value that is not a number is no improvement");
        let wanted =
            "stopped at step 40 of 99: eval_success has not improved for 2 evaluations; best 50.0\u{a0}% at step 20";
        assert_eq!(found.why_stopped(40, 99).unwrap(), wanted);
        assert_eq!(found.why_stopped(40, 40), None);
        found.add(Record::new(50).set("eval_success", 0.6)).unwrap();
        assert!(!found.stops_at(50));
    }

    #[test]
    fn the_best_of_every_kept_checkpoint_stays() {
        let found = best("success", &[(10, 0.4), (20, 0.3), (30, 0.5), (40, 0.1)], &[]);
        assert_eq!(found.spared(&[10, 20, 30, 35, 40], 2), [30, 30]);
        assert_eq!(found.spared(&[10, 20, 30], 2), [10, 30], "a run that continues from 20 must find 10");
        assert_eq!(found.spared(&[20, 30, 40], 0), [30]);
    }

    #[test]
    fn a_metric_that_cannot_be_taken_is_refused_with_those_that_can() {
        let mut config = Config::default();
        config.run.patience = 3;
        assert!(check(&config).unwrap_err().to_string().contains("run.best names no metric"));
        for (name, wanted) in [
            ("sucess", "no such metric"),
            ("eval_entropy", "neither more nor less"),
            ("tv", "do not measure it"),
            ("eval_pass_at_64", "do not measure it"),
            ("loss", "not measured by evaluations"),
        ] {
            config.run.best = Some(name.into());
            let error = check(&config).unwrap_err().to_string();
            assert!(error.contains(wanted) && error.contains("choose one of eval_success_exact, "), "{error}");
        }
        config.run.best = Some("success".into());
        check(&config).unwrap();
        config.eval.every = 0;
        assert!(check(&config).unwrap_err().to_string().contains("eval.every is 0"));
        let error = best("success", &[], &[]).add(Record::new(0).set("eval_pass_at_1", 0.5)).unwrap_err().to_string();
        assert!(error.contains("they have eval_pass_at_1"), "{error}");
    }
}
