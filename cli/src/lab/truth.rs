//! What a lab run is compared with: the exact target, never samples.

use anyhow::Result;
use flowrl_core::lab::{Environment, Target, reference};
use flowrl_core::objective::{Length, Objective, Reward};
use flowrl_core::{Real, exact};

use super::Lab;

/// The exact target of a task, and what measures a policy against it.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) lab: Lab,
    /// π_ref^α·exp(βr)/Z.
    pub(crate) target: Target,
    /// π_ref^α·exp(|x|(βr − c)), where that is another one.
    pub(crate) fixed_point: Option<Target>,
    /// (objects) log π_ref; on a graph the uniform distribution.
    pub(crate) reference: Vec<f64>,
    /// What a learned log Z converges to, where the objective says.
    log_z: Option<f64>,
}

impl Truth {
    /// The target of `objective` at β: an objective that divides by the length has another fixed point, kept beside it.
    pub(crate) fn new(lab: Lab, objective: &Objective, beta: f64) -> Result<Self> {
        let reference = reference_of(&lab)?;
        let target = target(&lab, objective, beta)?;
        let divides = matches!(objective, Objective::FlowRl(flow) if flow.length == Length::Mean);
        let differs = lab.max_length() > 1 && (divides || matches!(lab, Lab::Tree(_)));
        let normalised = || Target::length_normalised_of_power(&lab, power(objective), beta);
        let fixed_point = if differs { Some(normalised()?) } else { None };
        let log_z = match objective {
            Objective::FlowRl(flow) if flow.reward != Reward::Raw || flow.beta != beta => None,
            Objective::FlowRl(flow) => match flow.length {
                Length::Sum => Some(target.log_z),
                Length::Mean => Some(fixed_point.as_ref().map_or(target.log_z, |fixed| fixed.log_z)),
                _ => None,
            },
            _ => None,
        };
        Ok(Self { lab, target, fixed_point, reference, log_z })
    }

    /// Every exact measure of a policy that gives the objects these log-probabilities, by the name it is recorded under.
    pub(crate) fn measure(&self, log_probs: &[f64], learned_log_z: Option<f64>) -> Result<Vec<(&'static str, f64)>> {
        let mut measures: Vec<_> = self.target.measure(log_probs)?.named().into();
        if let Some(fixed) = &self.fixed_point {
            measures.push(("tv_fixed_point", exact::total_variation(log_probs, &fixed.log_probs)?));
        }
        measures.push(("kl_to_reference", exact::kl(log_probs, &self.reference)?));
        if let Some((learned, exact)) = learned_log_z.zip(self.log_z) {
            measures.push(("log_z_error", learned - exact));
        }
        measures.extend(goals(&self.target, &self.reference)?);
        Ok(measures)
    }
}

/// The power α of the reference in the target.
fn power(objective: &Objective) -> f64 {
    match objective {
        Objective::FlowRl(flow) => flow.reference_power,
        _ => 1.0,
    }
}

/// The target of `objective` at β, that of sums.
pub(crate) fn target(lab: &Lab, objective: &Objective, beta: f64) -> Result<Target> {
    Ok(Target::of_power(lab, power(objective), beta)?)
}

/// log π_ref of every object: on a graph, which has no reference policy, the uniform distribution.
pub(crate) fn reference_of(lab: &Lab) -> Result<Vec<f64>> {
    let mut out = vec![-<f64 as Real>::ln(lab.objects() as f64); lab.objects()];
    if lab.is_tree() {
        reference(lab, &mut out)?;
    }
    Ok(out)
}

/// The measures of the target itself, which a policy should reach.
pub(crate) fn goals(target: &Target, reference: &[f64]) -> Result<[(&'static str, f64); 4]> {
    let own = target.measure(&target.log_probs)?;
    Ok([
        ("target_entropy", own.entropy),
        ("target_expected_reward", own.expected_reward),
        ("target_kl_to_reference", exact::kl(&target.log_probs, reference)?),
        ("target_log_z", target.log_z),
    ])
}
