//! The exact target that a run of the lab is compared with.

use anyhow::Result;
use flowrl_core::objective::{Length, Objective, Reward};
use flowrl_core::{Real, exact};
use flowrl_lab::{Environment, Lab, Target, reference};

/// The exact distributions of a task, which policies are measured against.
#[derive(Debug)]
pub(crate) struct Truth {
    pub(crate) lab: Lab,
    /// Target π_ref^α·exp(βr)/Z.
    pub(crate) target: Target,
    /// Fixed point π_ref^α·exp(|x|(βr − c)) of a length-normalised objective, if this differs from the target.
    pub(crate) fixed_point: Option<Target>,
    /// log π_ref of each object; on a graph, of the uniform distribution.
    pub(crate) reference: Vec<f64>,
    /// Value that a learned log Z converges to, if the objective determines it.
    log_z: Option<f64>,
}

impl Truth {
    /// Computes the target of `objective` at β, and the fixed point of an objective that divides by the length.
    pub(crate) fn new(lab: Lab, objective: &Objective, beta: f64) -> Result<Self> {
        let reference = reference_of(&lab)?;
        let target = target(&lab, objective, beta)?;
        let divides = matches!(objective, Objective::FlowRl(flow) if flow.length == Length::Mean);
        let differs = lab.max_length() > 1 && (divides || matches!(lab, Lab::Tree(_)));
        let normalised = || Target::length_normalised_of_power(&lab, power(objective), beta);
        let fixed_point = if differs { Some(normalised()?) } else { None };
        let log_z = match objective {
            Objective::FlowRl(flow) if flow.reward == Reward::Raw && flow.beta == beta => match flow.length {
                Length::Sum => Some(target.log_z),
                Length::Mean => Some(fixed_point.as_ref().map_or(target.log_z, |fixed| fixed.log_z)),
                _ => None,
            },
            _ => None,
        };
        Ok(Self { lab, target, fixed_point, reference, log_z })
    }

    /// Returns every exact measure of a policy under which the objects have these log-probabilities, with its metric's
    /// name.
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

/// Returns the power α of the reference in the target.
fn power(objective: &Objective) -> f64 {
    match objective {
        Objective::FlowRl(flow) => flow.reference_power,
        _ => 1.0,
    }
}

/// Returns the target of `objective` at β, without length normalisation.
pub(crate) fn target(lab: &Lab, objective: &Objective, beta: f64) -> Result<Target> {
    Ok(Target::of_power(lab, power(objective), beta)?)
}

/// Returns log π_ref of every object. A graph has no reference policy, so this is the uniform distribution there.
pub(crate) fn reference_of(lab: &Lab) -> Result<Vec<f64>> {
    let mut out = vec![-<f64 as Real>::ln(lab.objects() as f64); lab.objects()];
    if lab.is_tree() {
        reference(lab, &mut out)?;
    }
    Ok(out)
}

/// Returns the measures of the target itself, which a policy should reach.
pub(crate) fn goals(target: &Target, reference: &[f64]) -> Result<[(&'static str, f64); 4]> {
    let own = target.measure(&target.log_probs)?;
    Ok([
        ("target_entropy", own.entropy),
        ("target_expected_reward", own.expected_reward),
        ("target_kl_to_reference", exact::kl(&target.log_probs, reference)?),
        ("target_log_z", target.log_z),
    ])
}
