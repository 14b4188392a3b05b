//! Measures the seconds spent on training, without evaluations and checkpoints.

use std::time::{Duration, Instant};

use crate::metrics::Record;

/// The wall-clock and processor time of all steps so far, including those before a resumption.
#[derive(Debug)]
pub(super) struct Clock {
    wall: f64,
    cpu: f64,
    started: (Instant, Option<Duration>),
}

impl Clock {
    /// Continues from the times in the last record of a run.
    pub(super) fn resume(last: Option<&Record>) -> Self {
        let number = |name| last.and_then(|record| record.number(name)).filter(|s| s.is_finite());
        let (wall, cpu) = (number("wall_s").unwrap_or(0.0), number("cpu_s").unwrap_or(0.0));
        Self { wall, cpu, started: (Instant::now(), None) }
    }

    pub(super) fn start(&mut self) {
        self.started = (Instant::now(), processor_time());
    }

    pub(super) fn stop(&mut self) {
        let (wall, cpu) = self.started;
        self.wall += wall.elapsed().as_secs_f64();
        self.cpu += cpu.zip(processor_time()).map_or(0.0, |(from, to)| to.saturating_sub(from).as_secs_f64());
    }

    pub(super) fn write(&self, record: &mut Record) {
        record.set("wall_s", self.wall);
        if processor_time().is_some() {
            record.set("cpu_s", self.cpu);
        }
    }
}

/// Returns the user and system time of all threads of this process.
#[cfg(unix)]
fn processor_time() -> Option<Duration> {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Some(Duration::new(u64::try_from(time.tv_sec).ok()?, u32::try_from(time.tv_nsec).ok()?))
}

#[cfg(not(unix))]
fn processor_time() -> Option<Duration> {
    None
}
