//! The choice of a method's value: the one with the least diversity lost among those that succeed as often as the
//! standard.

use super::Frontier;
use super::methods::{CHOOSING, Method, REPORTED, STANDARD, STEPS};

/// How far a value's success may be below the standard's.
pub(super) const WITHIN: f64 = 0.01;

/// The chosen value of a method's knob.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Open because some of the values, or the standard, have not been measured yet.
    Open,
    /// No value comes within one percentage point of the standard's success.
    NoneReaches,
    /// The value with the least diversity lost.
    Value(f64),
}

impl Frontier {
    /// Returns the value with the least diversity lost among those within one percentage point of the standard's
    /// success after as many steps.
    pub fn choice(&self, method: &Method) -> Choice {
        let standard = Method::named(STANDARD).and_then(|method| self.ends((method, method.default), &CHOOSING));
        let Some((bar, _)) = standard else { return Choice::Open };
        let mut least: Option<(f64, f64)> = None;
        for &value in method.values {
            let Some((reached, lost)) = self.ends((method, value), &CHOOSING) else { return Choice::Open };
            if reached.mean >= bar.mean - WITHIN && least.is_none_or(|(_, smallest)| lost.mean < smallest) {
                least = Some((value, lost.mean));
            }
        }
        least.map_or(Choice::NoneReaches, |(value, _)| Choice::Value(value))
    }

    /// Returns the values to report for a method: its default, then the chosen one if it differs.
    pub(super) fn reported(&self, method: &Method) -> Vec<f64> {
        match self.choice(method) {
            Choice::Value(value) if value != method.default => vec![method.default, value],
            _ => vec![method.default],
        }
    }

    /// Returns the seeds to average over: the reported ones if all of them were measured, else those for choosing.
    pub(super) fn seeds_of(&self, method: &Method, value: f64) -> &'static [u64] {
        let all = REPORTED.iter().all(|seed| self.find(method, value, *seed, STEPS).is_some());
        if all { &REPORTED } else { &CHOOSING }
    }
}
