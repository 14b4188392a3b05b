//! The sentence that the measurements support, and the one that they forbid.

use super::choice::WITHIN;
use super::methods::{CHOOSING, Method, REPORTED, STANDARD, STEPS};
use super::tables::standard_error;
use super::{Choice, Frontier};
use crate::compare::Summary;

/// Success that two curves may differ by and still be called one.
const SAME: f64 = 0.01;

/// A reported value: its label, success and diversity lost with standard errors.
struct Reported {
    label: String,
    success: Summary,
    lost: Summary,
}

impl Reported {
    fn said(&self) -> String {
        format!("{} success for {} nats", self.success.show("fraction"), self.lost.show(""))
    }
}

impl Frontier {
    fn at(&self, method: &Method, value: f64) -> Option<Reported> {
        let over = |measure: fn(&super::Point) -> f64| {
            self.over((method, value), &REPORTED, (STEPS, STEPS), measure).map(standard_error)
        };
        Some(Reported {
            label: method.label(value),
            success: over(|point| point.success)?,
            lost: over(|point| point.lost)?,
        })
    }

    fn chosen(&self, name: &str) -> Option<Reported> {
        let method = Method::named(name)?;
        match self.choice(method) {
            Choice::Value(value) => self.at(method, value),
            _ => None,
        }
    }

    /// Trajectory balance beside the standard; none before both are measured.
    pub(super) fn claim(&self) -> Option<String> {
        let (ours, standard) = (self.chosen("exact-tb")?, Method::named(STANDARD)?);
        let theirs = self.at(standard, standard.default)?;
        let share = ours.lost.mean / theirs.lost.mean;
        // The error of a quotient of independent means.
        let relative = |summary: &Summary| summary.sd.unwrap_or(0.0) / summary.mean;
        let error = share * relative(&ours.lost).hypot(relative(&theirs.lost));
        let holds = share + 2.0 * error < 1.0 && ours.success.mean >= theirs.success.mean - WITHIN;
        let verdict = if holds {
            "Plain trajectory balance with the right β gives the success of GRPO's default, within a point, for a fraction of the diversity lost"
        } else {
            "Plain trajectory balance with the chosen β does not give the success of GRPO's default for less of the diversity"
        };
        Some(format!(
            "**{verdict}**: `exact-tb` with {} has {}, `{STANDARD}` with {} has {}; that is {share:.2} ± {error:.2} of the loss.",
            ours.label,
            ours.said(),
            theirs.label,
            theirs.said()
        ))
    }

    /// What must not be concluded: the same regularisation makes the same curve of a policy gradient.
    pub(super) fn limit_of_claim(&self) -> Option<String> {
        let gap = self.gap("exact-tb", "reinforce")?;
        let points = 100.0 * gap;
        let verdict = if gap <= SAME {
            format!(
                "**This is no advantage over policy gradients**: `reinforce` with a KL of 1/β in the reward lies on the same curve, within {points:.1} points of success"
            )
        } else {
            format!(
                "`reinforce` with a KL of 1/β in the reward lies up to {points:.1} points of success off that curve"
            )
        };
        let said =
            |name: &str| Some(format!("`{name}` with {} has {}", self.chosen(name)?.label, self.chosen(name)?.said()));
        let others: Vec<String> = [said("reinforce"), said(STANDARD)].into_iter().flatten().collect();
        let others = if others.is_empty() { String::new() } else { format!(" ({})", others.join("; ")) };
        Some(format!(
            "{verdict}{others}. Both have π_ref·exp(βr)/Z as their target. The frontier belongs to what is regularised towards the reference, FlowRL among it."
        ))
    }

    /// The largest difference in success between two curves, where both have lost as much; straight lines between the values.
    fn gap(&self, one: &str, other: &str) -> Option<f64> {
        let (one, other) = (self.curve(one)?, self.curve(other)?);
        let on = |lost: f64| {
            let pair = one.windows(2).find(|pair| (pair[0].0..=pair[1].0).contains(&lost))?;
            let share = (lost - pair[0].0) / (pair[1].0 - pair[0].0);
            Some(pair[0].1 + share * (pair[1].1 - pair[0].1))
        };
        other.iter().filter_map(|(lost, success)| Some((success - on(*lost)?).abs())).reduce(f64::max)
    }

    /// Diversity lost and success of every value of a method, by what is lost.
    fn curve(&self, name: &str) -> Option<Vec<(f64, f64)>> {
        let method = Method::named(name)?;
        let point = |value: &f64| {
            let over = |measure: fn(&super::Point) -> f64| {
                Some(self.over((method, *value), &CHOOSING, (STEPS, STEPS), measure)?.mean)
            };
            Some((over(|point| point.lost)?, over(|point| point.success)?))
        };
        let mut curve = method.values.iter().map(point).collect::<Option<Vec<_>>>()?;
        curve.sort_by(|a, b| a.0.total_cmp(&b.0));
        Some(curve)
    }
}
