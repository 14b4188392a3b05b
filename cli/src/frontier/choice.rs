//! Which value of a method loses least among those that succeed as often as the standard.

use super::Frontier;
use super::methods::{CHOOSING, METHODS, Method, REPORTED, STANDARD, STEPS};

/// Success that a value may be below the standard's.
pub(super) const WITHIN: f64 = 0.01;

/// The value of a method's knob.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Choice {
    /// Some of its values, or the standard, are still to be measured.
    Open,
    /// None comes within a point of the standard's success.
    NoneReaches,
    /// This one.
    Value(f64),
}

impl Frontier {
    /// The value with least diversity lost among those within a point of the standard's success at the same steps.
    #[must_use]
    pub fn choice(&self, method: &Method) -> Choice {
        let success = |method: &Method, value| self.over((method, value), &CHOOSING, (STEPS, STEPS), |p| p.success);
        let standard = METHODS.iter().find(|method| method.name == STANDARD);
        let Some(bar) = standard.and_then(|standard| success(standard, standard.default)) else { return Choice::Open };
        let mut least: Option<(f64, f64)> = None;
        for &value in method.values {
            let lost = self.over((method, value), &CHOOSING, (STEPS, STEPS), |p| p.lost);
            let (Some(reached), Some(lost)) = (success(method, value), lost) else { return Choice::Open };
            if reached.mean >= bar.mean - WITHIN && least.is_none_or(|(_, smallest)| lost.mean < smallest) {
                least = Some((value, lost.mean));
            }
        }
        least.map_or(Choice::NoneReaches, |(value, _)| Choice::Value(value))
    }

    /// The values that a method is reported with: its default, then the chosen one where that is another.
    pub(super) fn reported(&self, method: &Method) -> Vec<f64> {
        match self.choice(method) {
            Choice::Value(value) if value != method.default => vec![method.default, value],
            _ => vec![method.default],
        }
    }

    /// The seeds that a point shows: the reported ones where all are there, else those for choosing.
    pub(super) fn seeds_of(&self, method: &Method, value: f64) -> &'static [u64] {
        let all = REPORTED.iter().all(|seed| self.find(method, value, *seed, STEPS).is_some());
        if all { &REPORTED } else { &CHOOSING }
    }
}
