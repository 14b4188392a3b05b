//! Every objective on one batch: loss, gradients and metrics.

use std::error::Error;

use flowrl_core::Real;
use flowrl_core::objective::{Balance, FlowRl, Objective, Preset, Sequence};
use flowrl_core::random::{Purpose, Stream};

use crate::digest::digest;

/// Completions per prompt, and length of the longest.
const GROUP: usize = 4;
const LONGEST: usize = 40;

pub(crate) fn report(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    of::<f32>(lines)?;
    of::<f64>(lines)
}

fn of<T: Real>(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let stream = Stream::new(3, Purpose::Task);
    // For sequence s, k = 0, 1, 2 select log π, log π_old and log π_ref.
    let tokens = |s: usize| 0..1 + (s * 7 % LONGEST) as u32;
    let log_probs = |s: usize, k: u32| -> Vec<T> {
        let noise = |t| 0.1 * f64::from(k) * stream.normal(k, s as u32, t);
        tokens(s).map(|t| T::of((noise(t) - 2.0 * stream.uniform(0, s as u32, t)).min(-1e-3))).collect()
    };
    let flows = |s: usize| -> Vec<T> { tokens(s).map(|t| T::of(stream.normal(8, s as u32, t))).collect() };
    let rows: Vec<[Vec<T>; 4]> =
        (0..8 * GROUP).map(|s| [log_probs(s, 0), log_probs(s, 1), log_probs(s, 2), flows(s)]).collect();

    let sequence = |(s, row)| {
        let [log_probs, old, reference, flows]: &[Vec<T>; 4] = row;
        let at = |place| T::of(stream.uniform(9, s as u32, place));
        Sequence {
            group: s / GROUP,
            reward: at(0),
            log_probs,
            ref_log_probs: Some(reference),
            old_log_probs: Some(old),
            log_flows: Some(flows),
            log_z: Some(T::of(stream.normal(9, (s / GROUP) as u32, 1))),
            value: Some(T::of(stream.normal(9, (s / GROUP) as u32, 2))),
            ..Sequence::default()
        }
    };
    let batch: Vec<Sequence<'_, T>> = rows.iter().enumerate().map(sequence).collect();
    let mut objectives = Vec::new();
    for &preset in Preset::ALL {
        objectives.push((preset.name(), Objective::preset(preset)));
    }
    for (name, balance) in [("sub-trajectory", Balance::SubTrajectory(0.9)), ("detailed", Balance::Detailed)] {
        objectives.push((name, Objective::FlowRl(FlowRl::exact_tb().with_balance(balance))));
    }
    for (name, objective) in objectives {
        let result = objective.compute(&batch)?;
        let d_log_probs: Vec<T> = (0..batch.len()).flat_map(|i| result.d_log_probs(i)).copied().collect();
        let d_log_flows: Vec<T> = (0..batch.len()).flat_map(|i| result.d_log_flows(i)).copied().collect();
        let metrics: Vec<f64> = result.diagnostics.metrics().map(|(_, value)| value).collect();
        let gradients = [d_log_probs, result.d_log_z, d_log_flows].map(|values| digest(&values)).join(" ");
        lines.push(format!("{} {name} {:016x} {gradients} {}", T::NAME, result.loss.to_bits(), digest(&metrics)));
    }
    Ok(())
}
