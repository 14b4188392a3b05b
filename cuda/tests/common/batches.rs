//! Batches for objectives, and the evaluation of both phases of an objective on a device.

use flowrl_core::backend::{Backend, ObjectiveError};
use flowrl_core::objective::{Batch, Diagnostics, Gradients, Mask, Objective, Outcomes, Totals};

use super::normals;

/// A batch that owns its numbers.
#[derive(Clone)]
pub(crate) struct Owned {
    pub(crate) offsets: Vec<usize>,
    pub(crate) groups: Vec<usize>,
    pub(crate) rewards: Vec<f32>,
    pub(crate) values: Vec<f32>,
    pub(crate) advantages: Vec<f32>,
    pub(crate) log_probs: Vec<f32>,
    pub(crate) ref_log_probs: Option<Vec<f32>>,
    pub(crate) old_log_probs: Option<Vec<f32>>,
    pub(crate) rollout_log_probs: Option<Vec<f32>>,
    pub(crate) log_flows: Option<Vec<f32>>,
    pub(crate) entropies: Option<Vec<f32>>,
    pub(crate) log_z: Option<Vec<f32>>,
    pub(crate) truncated: Vec<bool>,
}

impl Owned {
    /// Generates sequences of these lengths in `groups` interleaved groups. The policy is close to the reference and to
    /// the old policy.
    pub(crate) fn random(seed: u64, lengths: &[usize], groups: usize) -> Self {
        // The offsets do not start at 0, as in parts of a larger batch.
        let mut offsets = vec![5];
        lengths.iter().for_each(|length| offsets.push(offsets[offsets.len() - 1] + length));
        let (b, n) = (lengths.len(), lengths.iter().sum());
        let log_probs: Vec<f32> = normals(seed, n).iter().map(|x| -1.0 - x.abs()).collect();
        let near = |seed, distance: f32| {
            let pairs = log_probs.iter().zip(normals(seed, n));
            pairs.map(|(l, x)| l + distance * x).collect::<Vec<f32>>()
        };
        Self {
            groups: (0..b).map(|i| i * 7 % groups * 3).collect(),
            rewards: normals(seed + 1, b),
            values: normals(seed + 2, b),
            advantages: normals(seed + 3, b),
            ref_log_probs: Some(near(seed + 4, 0.3)),
            old_log_probs: Some(near(seed + 5, 0.2)),
            rollout_log_probs: None,
            log_flows: None,
            entropies: Some(normals(seed + 7, n).iter().map(|x| x.abs()).collect()),
            log_z: Some(normals(seed + 6, b)),
            truncated: (0..b).map(|i| i % 3 == 1).collect(),
            offsets,
            log_probs,
        }
    }

    pub(crate) fn batch(&self) -> Batch<'_, f32> {
        Batch {
            offsets: &self.offsets,
            groups: &self.groups,
            advantages: &self.advantages,
            log_probs: &self.log_probs,
            ref_log_probs: self.ref_log_probs.as_deref(),
            old_log_probs: self.old_log_probs.as_deref(),
            rollout_log_probs: self.rollout_log_probs.as_deref(),
            log_flows: self.log_flows.as_deref(),
            entropies: self.entropies.as_deref(),
            log_z: self.log_z.as_deref(),
            ..Batch::default()
        }
    }
}

/// Numbers by name, and the diagnostics.
pub(crate) type Results = (Vec<(&'static str, Vec<f32>)>, Diagnostics);

/// Runs both phases, the second for a part of a larger batch. The outputs start as NaN because their old contents must
/// not matter.
pub(crate) fn evaluate<B: Backend<Real = f32>>(
    device: &B,
    objective: &Objective,
    owned: &Owned,
) -> Result<Results, ObjectiveError<B::Error>> {
    let (b, n) = (owned.groups.len(), owned.log_probs.len());
    let [mut shaped, mut d_log_z, mut log_z, mut residuals, mut weights] = [(); 5].map(|()| vec![f32::NAN; b]);
    let mut d_log_probs = vec![f32::NAN; n];
    let mut d_log_flows = vec![f32::NAN; if objective.needs_flows() { n } else { 0 }];
    let mut d_entropies = vec![f32::NAN; if objective.needs_entropies() { n } else { 0 }];
    let mut order = vec![0; b];
    let outcomes = Outcomes {
        rewards: &owned.rewards,
        groups: &owned.groups,
        values: Some(&owned.values),
        truncated: Some(&owned.truncated),
        offsets: Some(&owned.offsets),
        ref_log_probs: owned.ref_log_probs.as_deref(),
        old_log_probs: Some(owned.old_log_probs.as_ref().unwrap_or(&owned.log_probs)),
    };
    let mut masks = vec![Mask::Out; b];
    objective.advantages(&outcomes, &mut order, &mut shaped, &mut masks)?;
    let mut out = Gradients {
        d_log_probs: &mut d_log_probs,
        d_log_flows: &mut d_log_flows,
        d_entropies: &mut d_entropies,
        d_log_z: &mut d_log_z,
        log_z: &mut log_z,
        residuals: &mut residuals,
        weights: &mut weights,
    };
    let batch = Batch { masks: Some(&masks), ..owned.batch() };
    let totals = Totals { sequences: b + 3, tokens: n + 20 };
    let diagnostics = device.evaluate(objective, &batch, totals, &mut order, &mut out)?;
    let named = vec![
        ("advantages", shaped),
        ("d_log_probs", d_log_probs),
        ("d_log_flows", d_log_flows),
        ("d_log_z", d_log_z),
        ("log_z", log_z),
        ("residuals", residuals),
        ("weights", weights),
        ("d_entropies", d_entropies),
    ];
    Ok((named, diagnostics))
}
