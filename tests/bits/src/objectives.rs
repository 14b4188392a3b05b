//! Every objective over one batch: loss, gradients, metrics.

use std::error::Error;

use flowrl_core::Real;
use flowrl_core::objective::{Objective, Sequence};
use flowrl_core::random::{Purpose, Stream};

use crate::digest::digest;

/// Completions of a prompt, and their longest.
const GROUP: usize = 4;
const LONGEST: usize = 40;

pub(crate) fn report(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    of::<f32>(lines)?;
    of::<f64>(lines)
}

fn of<T: Real>(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let stream = Stream::new(3, Purpose::Task);
    // Row s·3 + k: log π, log π_old and log π_ref of sequence s, k = 0, 1, 2.
    let row = |s: usize, k: usize| -> Vec<T> {
        let base = |t| -2.0 * stream.uniform(0, s as u32, t);
        let noise = |t| 0.1 * k as f64 * stream.normal(k as u32, s as u32, t);
        (0..1 + (s * 7 % LONGEST) as u32).map(|t| T::of((base(t) + noise(t)).min(-1e-3))).collect()
    };
    let rows: Vec<[Vec<T>; 3]> = (0..8 * GROUP).map(|s| [0, 1, 2].map(|k| row(s, k))).collect();
    let sequence = |(s, rows)| {
        let [log_probs, old, reference]: &[Vec<T>; 3] = rows;
        let at = |place| T::of(stream.uniform(9, s as u32, place));
        Sequence {
            group: s / GROUP,
            reward: at(0),
            log_probs,
            ref_log_probs: Some(reference),
            old_log_probs: Some(old),
            log_z: Some(T::of(stream.normal(9, (s / GROUP) as u32, 1))),
            value: Some(T::of(stream.normal(9, (s / GROUP) as u32, 2))),
        }
    };
    let batch: Vec<Sequence<'_, T>> = rows.iter().enumerate().map(sequence).collect();
    for (name, _) in Objective::named() {
        let result = name.parse::<Objective>()?.compute(&batch)?;
        let d_log_probs: Vec<T> = (0..batch.len()).flat_map(|i| result.d_log_probs(i)).copied().collect();
        let metrics: Vec<f64> = result.diagnostics.metrics().map(|(_, value)| value).collect();
        let [d_log_probs, d_log_z] = [d_log_probs, result.d_log_z].map(|values| digest(&values));
        let loss = result.loss.to_bits();
        lines.push(format!("{} {name} {loss:016x} {d_log_probs} {d_log_z} {}", T::NAME, digest(&metrics)));
    }
    Ok(())
}
