//! Measurements of a slow verifier.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flowrl_core::task::{JudgeError, Judgement};

/// Times and failures since they were last taken.
#[derive(Debug, Default)]
pub(crate) struct Measured(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    seconds: Vec<f64>,
    failures: u32,
    restarts: u32,
}

impl Measured {
    fn with(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Records the time that one completion took.
    pub(crate) fn took(&self, time: Duration) {
        self.with(|counts| counts.seconds.push(time.as_secs_f64()));
    }

    /// Records a completion that could not be judged.
    pub(crate) fn failed(&self) {
        self.with(|counts| counts.failures += 1);
    }

    /// Records a start, if it is not the first one of its worker.
    pub(crate) fn restarted(&self, again: bool) {
        self.with(|counts| counts.restarts += u32::from(again));
    }

    /// Returns the metrics since the last call. Without a completion there are none.
    pub(crate) fn take(&self) -> Vec<(&'static str, f64)> {
        let mut taken = Counts::default();
        self.with(|counts| taken = std::mem::take(counts));
        let Counts { mut seconds, failures, restarts } = taken;
        let mut metrics = vec![("judge_failures", f64::from(failures)), ("judge_restarts", f64::from(restarts))];
        if seconds.is_empty() {
            return if failures + restarts == 0 { Vec::new() } else { metrics };
        }
        seconds.sort_by(f64::total_cmp);
        let at = |share: f64| seconds[(share * (seconds.len() - 1) as f64).round() as usize];
        metrics.extend([("judge_p50_s", at(0.5)), ("judge_p95_s", at(0.95)), ("judge_max_s", at(1.0))]);
        metrics
    }
}

/// Returns the judgement of a batch of one completion.
pub(crate) fn only(mut judgements: Vec<Judgement>) -> Result<Judgement, JudgeError> {
    judgements.pop().ok_or_else(|| "no judgement".into())
}

/// Adds the metrics of one verifier to those of others: counts add up, of times the longest stays.
pub(crate) fn merge(all: &mut Vec<(&'static str, f64)>, more: Vec<(&'static str, f64)>) {
    for (name, value) in more {
        match all.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) if name.ends_with("_s") => *known = known.max(value),
            Some((_, known)) => *known += value,
            None => all.push((name, value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_taken_once() {
        let measured = Measured::default();
        assert_eq!(measured.take(), []);
        (1..=101).for_each(|i| measured.took(Duration::from_secs(i)));
        measured.failed();
        measured.restarted(false);
        measured.restarted(true);
        let taken = measured.take();
        let wanted = [
            ("judge_failures", 1.0),
            ("judge_restarts", 1.0),
            ("judge_p50_s", 51.0),
            ("judge_p95_s", 96.0),
            ("judge_max_s", 101.0),
        ];
        assert_eq!(taken, wanted);
        assert_eq!(measured.take(), []);
        let mut all = taken;
        merge(&mut all, vec![("judge_failures", 2.0), ("judge_max_s", 7.0), ("judge_p50_s", 60.0)]);
        assert_eq!((all[0].1, all[2].1, all[4].1), (3.0, 60.0, 101.0));
    }
}
