//! The FlowRL loss of the preset `paper` with its gradients, computed with one part of the batch per thread.

use std::ops::Range;
use std::sync::Mutex;

use flowrl_core::backend::split;
use flowrl_core::objective::{Batch, Error, Gradients, Mask, Objective, Outcomes, Preset};

use crate::{Cpu, Failure, uniform};

/// B sequences of T tokens each, in groups of K, with all inputs and outputs of the loss.
#[derive(Debug)]
pub struct ObjectiveCase {
    objective: Objective,
    length: usize,
    group: usize,
    offsets: Vec<usize>,
    groups: Vec<usize>,
    rewards: Vec<f32>,
    advantages: Vec<f32>,
    order: Vec<usize>,
    masks: Vec<Mask>,
    /// Log-probabilities under the policy, the sampler and the reference, (B, T) each.
    log_probs: [Vec<f32>; 3],
    given_log_z: Vec<f32>,
    d_log_probs: Vec<f32>,
    /// Gradient of log Z, log Z, residual and weight, (B) each.
    per_sequence: [Vec<f32>; 4],
}

impl ObjectiveCase {
    /// Creates `groups` groups of `group` sequences with `length` tokens.
    pub fn new(groups: usize, group: usize, length: usize) -> Self {
        let b = groups * group;
        let near = |x: &[f32], salt, by: f64| {
            x.iter().zip(uniform(salt, b * length, -by, by)).map(|(x, d)| x + d).collect::<Vec<_>>()
        };
        let policy = uniform(0, b * length, -1.0, 0.0);
        let (old, reference) = (near(&policy, 1, 1e-3), near(&policy, 2, 1e-2));
        Self {
            objective: Objective::preset(Preset::Paper),
            length,
            group,
            offsets: (0..=b).map(|i| i * length).collect(),
            groups: (0..b).map(|i| i / group).collect(),
            rewards: uniform(3, b, 0.0, 2.0).iter().map(|x| x.floor()).collect(),
            advantages: vec![0.0; b],
            order: vec![0; b],
            masks: vec![Mask::In; b],
            log_probs: [policy, old, reference],
            given_log_z: vec![0.0; b],
            d_log_probs: vec![0.0; b * length],
            per_sequence: [(); 4].map(|()| vec![0.0; b]),
        }
    }

    /// Returns the least number of bytes to move: for each token, three log-probabilities read and a gradient written.
    pub fn bytes(&self) -> usize {
        4 * size_of::<f32>() * self.d_log_probs.len()
    }

    /// Returns the gradient of the log-probabilities, (B, T).
    pub fn d_log_probs(&self) -> &[f32] {
        &self.d_log_probs
    }

    /// Computes the advantages from the rewards, then loss and gradients.
    pub fn run(&mut self, cpu: &Cpu) -> Result<(), Failure> {
        let Self { objective, order, masks, advantages, rewards, groups, .. } = self;
        let outcomes = Outcomes { rewards, groups, ..Outcomes::default() };
        objective.advantages(&outcomes, order, advantages, masks)?;
        let [log_probs, old_log_probs, ref_log_probs] = &self.log_probs;
        let batch = Batch {
            offsets: &self.offsets,
            groups: &self.groups,
            advantages: &self.advantages,
            log_probs,
            ref_log_probs: Some(ref_log_probs),
            old_log_probs: Some(old_log_probs),
            log_flows: None,
            log_z: Some(&self.given_log_z),
            ..Batch::default()
        };
        let [d_log_z, log_z, residuals, weights] = &mut self.per_sequence;
        let d_log_probs = &mut self.d_log_probs;
        let (d_log_flows, d_entropies) = (&mut [], &mut []);
        let whole = Gradients { d_log_probs, d_log_flows, d_entropies, d_log_z, log_z, residuals, weights };
        let count = self.groups.len().div_ceil(self.group);
        let parts: Vec<Range<usize>> =
            split(count, cpu.pool().threads()).map(|r| r.start * self.group..r.end * self.group).collect();
        let failed: Mutex<Option<Error>> = Mutex::new(None);
        let objective = &self.objective;
        cpu.pool().run(jobs(&parts, self.length, whole, &mut self.order), |(part, mut out, order)| {
            let result = batch.part(part).and_then(|p| objective.evaluate(&p, batch.totals(), order, &mut out));
            if let (Err(error), Ok(mut failed)) = (result, failed.lock()) {
                *failed = Some(error);
            }
        });
        failed.into_inner()?.map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Splits the outputs, so that each part has its own share.
fn jobs<'a>(
    parts: &[Range<usize>],
    length: usize,
    whole: Gradients<'a, f32>,
    mut order: &'a mut [usize],
) -> Vec<(Range<usize>, Gradients<'a, f32>, &'a mut [usize])> {
    let Gradients { mut d_log_probs, mut d_log_z, mut log_z, mut residuals, mut weights, .. } = whole;
    let share = |part: &Range<usize>| {
        let n = part.len();
        let out = Gradients {
            d_log_probs: take(&mut d_log_probs, n * length),
            d_log_flows: &mut [],
            d_entropies: &mut [],
            d_log_z: take(&mut d_log_z, n),
            log_z: take(&mut log_z, n),
            residuals: take(&mut residuals, n),
            weights: take(&mut weights, n),
        };
        (part.clone(), out, take(&mut order, n))
    };
    parts.iter().map(share).collect()
}

/// Removes the first `n` elements from the slice and returns them.
fn take<'a, V>(slice: &mut &'a mut [V], n: usize) -> &'a mut [V] {
    slice.split_off_mut(..n).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_change_no_bit() {
        let [one, three] = [1, 3].map(|threads| {
            let mut case = ObjectiveCase::new(8, 4, 16);
            case.run(&Cpu::new(threads)).unwrap();
            case
        });
        assert!(one.d_log_probs().iter().all(|&d| d != 0.0));
        assert_eq!(one.d_log_probs(), three.d_log_probs());
        assert_eq!(one.per_sequence, three.per_sequence);
    }
}
