//! The options that verifiers share.

use std::collections::HashSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flowrl_core::task::Judgement;
use flowrl_lm::Interrupt;

use crate::code::sandbox::Launcher;
use crate::log::Log;

/// Receives a warning.
pub type Report = Arc<dyn Fn(&str) + Send + Sync>;

/// The options that verifiers share.
#[derive(Clone)]
#[non_exhaustive]
pub struct Options {
    /// Python interpreter; without it, that of the active virtual environment or the first `python3` on PATH.
    pub python: Option<PathBuf>,
    /// Whether completions may be run as programs, and how this program starts itself again to confine them.
    pub code: Option<Launcher>,
    /// Number of workers; 0 means one for each processor.
    pub workers: usize,
    /// Longest time that judging one completion may take.
    pub timeout: Duration,
    /// Longest time until a worker says its first line.
    pub start_timeout: Duration,
    /// Reward of a completion that could not be judged; [`None`] leaves it out.
    pub reward_of_failure: Option<f64>,
    /// Standard error of workers.
    pub log: Log,
    /// Returns whether to give up.
    pub interrupt: Option<Interrupt>,
    /// Receives warnings; each is given once.
    pub report: Option<Report>,
    reported: Arc<Mutex<HashSet<String>>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            python: None,
            code: None,
            workers: 0,
            timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(120),
            reward_of_failure: None,
            log: Log::default(),
            interrupt: None,
            report: None,
            reported: Arc::default(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("python", &self.python)
            .field("workers", &self.workers)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// Number of different warnings that a verifier gives; the log has all of them.
const MOST_REPORTS: usize = 8;

impl Options {
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupt.as_ref().is_some_and(|interrupt| interrupt())
    }

    /// Returns the number of workers.
    pub(crate) fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        }
    }

    /// Returns the judgement of a completion that could not be judged.
    pub(crate) fn failed(&self, verdict: &'static str) -> Judgement {
        match self.reward_of_failure {
            Some(reward) => Judgement::new(reward, verdict),
            None => Judgement::without_reward(verdict),
        }
    }

    /// Gives a warning about a verifier, unless it was given before.
    pub(crate) fn report(&self, verifier: &str, message: &str) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = reported.len() < MOST_REPORTS && reported.insert(message.to_owned());
        drop(reported);
        if let (true, Some(report)) = (is_new, &self.report) {
            report(&format!("verifier {verifier}: {message}"));
        }
    }
}
