//! The choice of a method's value, which is the one with the least diversity lost among those that succeed as often as
//! the standard; the claim that the measurements support, and the limit of this claim, as sentences.

use super::Frontier;
use super::methods::{CHOOSING, METHODS, Method, REPORTED, STANDARD, STEPS};
use super::tables::standard_error;
use crate::compare::Summary;

/// How far a value's success may be below the standard's.
const WITHIN: f64 = 0.01;

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

    /// Returns every method with each of its values to report.
    pub(super) fn all_reported(&self) -> impl Iterator<Item = (&'static Method, f64)> {
        METHODS.iter().flat_map(|method| self.reported(method).into_iter().map(move |value| (method, value)))
    }

    /// Returns the seeds to average over: the reported ones if all of them were measured, else those for choosing.
    pub(super) fn seeds_of(&self, method: &Method, value: f64) -> &'static [u64] {
        let all = REPORTED.iter().all(|seed| self.find(method, value, *seed, STEPS).is_some());
        if all { &REPORTED } else { &CHOOSING }
    }
}

/// Largest difference in success at which two curves count as the same.
const SAME: f64 = 0.01;

/// A reported value: its label, with success and diversity lost and their standard errors.
struct Reported {
    label: String,
    success: Summary,
    lost: Summary,
}

impl Reported {
    fn said(&self) -> String {
        format!("{} success at a loss of {} nats", self.success.show("fraction"), self.lost.show(""))
    }
}

impl Frontier {
    fn at(&self, method: &Method, value: f64) -> Option<Reported> {
        let (success, lost) = self.ends((method, value), &REPORTED)?;
        Some(Reported { label: method.label(value), success: standard_error(success), lost: standard_error(lost) })
    }

    fn chosen(&self, name: &str) -> Option<Reported> {
        let method = Method::named(name)?;
        match self.choice(method) {
            Choice::Value(value) => self.at(method, value),
            _ => None,
        }
    }

    /// Compares trajectory balance with the standard. Returns `None` until both have been measured.
    pub(super) fn claim(&self) -> Option<String> {
        let (ours, standard) = (self.chosen("exact-tb")?, Method::named(STANDARD)?);
        let theirs = self.at(standard, standard.default)?;
        let share = ours.lost.mean / theirs.lost.mean;
        // The standard error of a ratio of independent means.
        let relative = |summary: &Summary| summary.sd.unwrap_or(0.0) / summary.mean;
        let error = share * relative(&ours.lost).hypot(relative(&theirs.lost));
        let holds = share + 2.0 * error < 1.0 && ours.success.mean >= theirs.success.mean - WITHIN;
        let verdict = if holds {
            "Plain trajectory balance with the right β reaches the success of GRPO's default, within one percentage point, and loses less diversity"
        } else {
            "Plain trajectory balance with the chosen β does not reach the success of GRPO's default at a smaller loss of diversity"
        };
        Some(format!(
            "**{verdict}**: `exact-tb` with {} has {}, `{STANDARD}` with {} has {}; the ratio of the losses is {share:.2} ± {error:.2}.",
            ours.label,
            ours.said(),
            theirs.label,
            theirs.said()
        ))
    }

    /// States the limit of the claim: a policy gradient with the same regularisation gives the same curve. Returns
    /// `None` until both have been measured.
    pub(super) fn limit_of_claim(&self) -> Option<String> {
        let gap = self.gap("exact-tb", "reinforce")?;
        let points = 100.0 * gap;
        let verdict = if gap <= SAME {
            format!(
                "**This is not an advantage over policy gradients**: `reinforce` with a KL weight of 1/β in the reward lies on the same curve, within {points:.1} percentage points of success"
            )
        } else {
            format!(
                "`reinforce` with a KL weight of 1/β in the reward lies up to {points:.1} percentage points of success off that curve"
            )
        };
        let said =
            |name: &str| Some(format!("`{name}` with {} has {}", self.chosen(name)?.label, self.chosen(name)?.said()));
        let others: Vec<String> = [said("reinforce"), said(STANDARD)].into_iter().flatten().collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        Some(format!(
            "{verdict}{others}. Both have π_ref·exp(βr)/Z as their target. The frontier is due to regularisation towards the reference, of which FlowRL is one form."
        ))
    }

    /// Returns the largest difference in success between two curves at equal loss, with linear interpolation between
    /// the values.
    fn gap(&self, one: &str, other: &str) -> Option<f64> {
        let (one, other) = (self.curve(one)?, self.curve(other)?);
        let on = |lost: f64| {
            let pair = one.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&lost))?;
            let share = (lost - pair[0].0) / (pair[1].0 - pair[0].0);
            Some(pair[0].1 + share * (pair[1].1 - pair[0].1))
        };
        other.iter().filter_map(|(lost, success)| Some((success - on(*lost)?).abs())).reduce(f64::max)
    }

    /// Returns diversity lost and success for every value of a method, in ascending order of the loss.
    fn curve(&self, name: &str) -> Option<Vec<(f64, f64)>> {
        let method = Method::named(name)?;
        let points = method.values.iter().map(|value| self.ends((method, *value), &CHOOSING));
        let points = points.map(|ends| ends.map(|(success, lost)| (lost.mean, success.mean)));
        let mut curve = points.collect::<Option<Vec<_>>>()?;
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(curve)
    }
}
