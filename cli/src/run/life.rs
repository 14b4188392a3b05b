//! Progress lines for a log, which shows no bar, and the forecast of the remaining time.

use std::time::{Duration, Instant};

use super::{duration, is_due};
use crate::config::Config;
use crate::metrics::Record;

/// The minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(30);

/// The time of the last line, and the start from which the time of a step is measured.
#[derive(Debug)]
pub(super) struct Life {
    /// Whether the bar is hidden.
    is_log: bool,
    begun: (Instant, u64),
    told: Instant,
}

impl Life {
    /// Starts the measurement for a run that begins after `step`.
    pub(super) fn new(is_log: bool, step: u64, now: Instant) -> Self {
        Self { is_log, begun: (now, step), told: now }
    }

    /// Returns a line about this step, if one is due.
    pub(super) fn line(&mut self, (step, total): (u64, u64), message: &str, now: Instant) -> Option<String> {
        if !self.is_log || now.duration_since(self.told) < INTERVAL {
            return None;
        }
        self.told = now;
        let (begun, first) = self.begun;
        let each = now.duration_since(begun).as_secs_f64() / step.saturating_sub(first).max(1) as f64;
        let left = total.saturating_sub(step) as f64 * each;
        Some(format!("step {step}/{total}  {message}  {} a step  {} left", duration(each), duration(left)))
    }
}

/// Forecasts the remaining time from the durations of the first evaluation and of this step.
pub(super) fn expected(config: &Config, now: u64, record: &Record, evaluation: f64) -> String {
    let number = |name| record.number(name).unwrap_or(0.0);
    let (step, total) = (number("step_s"), config.train.steps);
    let every = config.eval.every;
    let evaluations = (now + 1..=total).filter(|&step| step == total || is_due(step, every)).count();
    let steps = total.saturating_sub(now);
    let left = steps as f64 * step + evaluations as f64 * evaluation;
    format!(
        "{:.0} tokens/s; a step takes {}, an evaluation {}, the {steps} steps that are left {}",
        number("tokens_per_s"),
        duration(step),
        duration(evaluation),
        duration(left)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_has_a_line_every_half_minute() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut life = Life::new(true, 10, start);
        assert_eq!(life.line((11, 100), "m", after(29)), None);
        let said = life.line((20, 100), "reward 0.41", after(30)).unwrap();
        assert_eq!(said, "step 20/100  reward 0.41  3.0 s a step  4 min left");
        assert_eq!(life.line((29, 100), "m", after(59)), None);
        assert!(life.line((30, 100), "m", after(61)).is_some());
        assert_eq!(Life::new(false, 0, start).line((1, 2), "m", after(100)), None);
    }

    #[test]
    fn the_rest_is_forecast_by_what_is_still_to_come() {
        let mut config = Config::default();
        (config.train.steps, config.eval.every) = (20, 5);
        let mut record = Record::new(2);
        record.set("step_s", 2.0);
        record.set("tokens_per_s", 1234.4);
        // 18 steps are left, and the evaluations after steps 5, 10, 15 and 20.
        let said = "1234 tokens/s; a step takes 2.0 s, an evaluation 10 s, the 18 steps that are left 76 s";
        assert_eq!(expected(&config, 2, &record, 10.0), said);
        config.eval.every = 0;
        assert!(expected(&config, 2, &record, 10.0).ends_with("are left 46 s"));
    }
}
