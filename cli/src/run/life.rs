//! Signs of life where nobody sees a bar: in a log.

use std::time::{Duration, Instant};

use super::duration;

/// Between two lines.
const INTERVAL: Duration = Duration::from_secs(30);

/// When the last line was written, and how long steps have taken.
#[derive(Debug)]
pub(super) struct Life {
    /// Where the bar is hidden.
    is_log: bool,
    begun: (Instant, u64),
    told: Instant,
}

impl Life {
    /// Of a run that begins after `step`.
    pub(super) fn new(is_log: bool, step: u64, now: Instant) -> Self {
        Self { is_log, begun: (now, step), told: now }
    }

    /// A line about this step, if one is due.
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
}
