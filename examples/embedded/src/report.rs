//! Computes one batch of two groups, with all arrays on the stack.

use core::fmt;

use flowrl_core::exact;
use flowrl_core::objective::{Batch, Error, Gradients, Mask, Objective, Outcomes, Preset};

/// Offsets of four sequences, (5): the start of each and the end of the last. `GROUPS` holds the prompt that each
/// answers.
const OFFSETS: [usize; 5] = [0, 3, 5, 6, 10];
const GROUPS: [usize; 4] = [0, 0, 1, 1];
const REWARDS: [f32; 4] = [1.0, 0.0, 0.25, 0.75];
/// log π of each token under the current policy, then when it was sampled, then under the reference.
const LOG_PROBS: [f32; 10] = [-0.7, -1.2, -0.1, -0.4, -2.5, -0.9, -1.1, -0.3, -0.6, -1.9];
const OLD_LOG_PROBS: [f32; 10] = [-0.75, -1.1, -0.1, -0.45, -2.5, -0.95, -1.1, -0.35, -0.6, -1.85];
const REF_LOG_PROBS: [f32; 10] = [-0.8, -1.1, -0.3, -0.5, -2.0, -1.0, -1.0, -0.4, -0.5, -2.0];
const LOG_Z: [f32; 4] = [0.1, 0.1, -0.2, -0.2];

/// Writes loss, gradients and log Z of the exact target, as numbers and as bits.
pub fn write(out: &mut impl fmt::Write) -> fmt::Result {
    let (mut d_log_probs, mut d_log_z) = ([0.0; 10], [0.0; 4]);
    match loss(&mut d_log_probs, &mut d_log_z) {
        Ok(loss) => writeln!(out, "loss {loss:.6} {:016x}", loss.to_bits())?,
        Err(why) => {
            writeln!(out, "{why}")?;
            return Err(fmt::Error);
        }
    }
    for (name, values) in [("d_log_probs", &d_log_probs[..]), ("d_log_z", &d_log_z)] {
        for (i, value) in values.iter().enumerate() {
            writeln!(out, "{name}[{i}] {value:.6} {:08x}", value.to_bits())?;
        }
    }
    let mut target = [0.0; 4];
    let reference = [-core::f64::consts::LN_2 * 2.0; 4];
    let log_z = exact::target(&reference, &REWARDS.map(f64::from), 15.0, &mut target).map_err(|_| fmt::Error)?;
    writeln!(out, "exact log Z {log_z:.6} {:016x}", log_z.to_bits())
}

/// Computes the paper's objective: rewards normalised per group, clipped importance weights, and residuals divided by
/// the length.
fn loss(d_log_probs: &mut [f32], d_log_z: &mut [f32]) -> Result<f64, Error> {
    let objective = Objective::preset(Preset::Paper);
    let mut order = [0; 4];
    let [mut advantages, mut log_z, mut residuals, mut weights] = [[0.0; 4]; 4];
    let outcomes = Outcomes { rewards: &REWARDS, groups: &GROUPS, ..Outcomes::default() };
    objective.advantages(&outcomes, &mut order, &mut advantages, &mut [Mask::In; 4])?;
    let batch = Batch {
        offsets: &OFFSETS,
        groups: &GROUPS,
        advantages: &advantages,
        log_probs: &LOG_PROBS,
        ref_log_probs: Some(&REF_LOG_PROBS),
        old_log_probs: Some(&OLD_LOG_PROBS),
        log_flows: None,
        log_z: Some(&LOG_Z),
        ..Batch::default()
    };
    let mut gradients = Gradients {
        d_log_probs,
        d_log_flows: &mut [],
        d_entropies: &mut [],
        d_log_z,
        log_z: &mut log_z,
        residuals: &mut residuals,
        weights: &mut weights,
    };
    Ok(objective.evaluate(&batch, batch.totals(), &mut order, &mut gradients)?.loss)
}
