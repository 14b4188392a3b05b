//! The FlowRL loss of the preset `paper` with its gradients over (512, 8192) log-probs, a part of the batch per thread.

use std::ops::Range;
use std::sync::Mutex;

use flowrl_core::backend::split;
use flowrl_core::objective::{Batch, Error, Gradients, Objective, Preset};

use crate::{Cpu, Outcome, serve, timed, uniform};

const B: usize = 512;
const T: usize = 8192;
const GROUP: usize = 8;

/// Rewards to advantages, then loss and gradients.
pub(crate) fn case(cpu: &Cpu) -> Outcome {
    let objective = Objective::preset(Preset::Paper);
    let near =
        |x: &[f32], salt, by: f64| x.iter().zip(uniform(salt, B * T, -by, by)).map(|(x, d)| x + d).collect::<Vec<_>>();
    let log_probs = uniform(0, B * T, -1.0, 0.0);
    let (old_log_probs, ref_log_probs) = (near(&log_probs, 1, 1e-3), near(&log_probs, 2, 1e-2));
    let rewards: Vec<f32> = uniform(3, B, 0.0, 2.0).iter().map(|x| x.floor()).collect();
    let log_z = vec![0.0; B];
    let groups: Vec<usize> = (0..B).map(|i| i / GROUP).collect();
    let offsets: Vec<usize> = (0..=B).map(|i| i * T).collect();
    let mut advantages = vec![0.0; B];
    let mut d_log_probs = vec![0.0; B * T];
    let [mut d_log_z, mut used_log_z, mut residuals, mut weights] = [(); 4].map(|()| vec![0.0; B]);
    let mut order = vec![0; B];

    serve(|| {
        timed(|| {
            objective.advantages(&rewards, &groups, None, &mut order, &mut advantages)?;
            let batch = Batch {
                offsets: &offsets,
                groups: &groups,
                advantages: &advantages,
                log_probs: &log_probs,
                ref_log_probs: Some(&ref_log_probs),
                old_log_probs: Some(&old_log_probs),
                log_z: Some(&log_z),
            };
            let whole = Gradients {
                d_log_probs: &mut d_log_probs,
                d_log_z: &mut d_log_z,
                log_z: &mut used_log_z,
                residuals: &mut residuals,
                weights: &mut weights,
            };
            let parts: Vec<Range<usize>> =
                split(B / GROUP, cpu.pool().threads()).map(|r| r.start * GROUP..r.end * GROUP).collect();
            let failed: Mutex<Option<Error>> = Mutex::new(None);
            cpu.pool().run(jobs(&parts, whole, &mut order), |(part, mut out, order)| {
                let result = batch.part(part).and_then(|p| objective.evaluate(&p, batch.totals(), order, &mut out));
                if let (Err(error), Ok(mut failed)) = (result, failed.lock()) {
                    *failed = Some(error);
                }
            });
            failed.into_inner()?.map_or(Ok(()), |error| Err(error.into()))
        })
    })
}

/// Each part with its share of what is written.
fn jobs<'a>(
    parts: &[Range<usize>],
    whole: Gradients<'a, f32>,
    mut order: &'a mut [usize],
) -> Vec<(Range<usize>, Gradients<'a, f32>, &'a mut [usize])> {
    let Gradients { mut d_log_probs, mut d_log_z, mut log_z, mut residuals, mut weights } = whole;
    let share = |part: &Range<usize>| {
        let n = part.len();
        let out = Gradients {
            d_log_probs: take(&mut d_log_probs, n * T),
            d_log_z: take(&mut d_log_z, n),
            log_z: take(&mut log_z, n),
            residuals: take(&mut residuals, n),
            weights: take(&mut weights, n),
        };
        (part.clone(), out, take(&mut order, n))
    };
    parts.iter().map(share).collect()
}

/// The first `n` elements, which leave the slice.
fn take<'a, V>(slice: &mut &'a mut [V], n: usize) -> &'a mut [V] {
    slice.split_off_mut(..n).unwrap_or_default()
}
