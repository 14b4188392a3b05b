//! The next update of a lane, taken apart.

use flowrl_core::Real;
use flowrl_core::backend::Backend as _;
use flowrl_core::objective::{Batch, Evaluation, Outcomes};
use flowrl_core::policy::{Model, Policy as _, Scores, Sequences};
use flowrl_core::train::{LogZModel, Rollouts};
use flowrl_lab::PolicyError;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::error::Error;
use crate::lane::{Backend, Lane, object_of};
use crate::race::Race;

/// The next update of a lane: its samples, the terms of the objective for each of them, and the policy before and
/// after.
///
/// The numbers come from the same code as the update itself. A list of shape (B) has an entry for each sample, one of
/// shape (objects) an entry for each answer.
#[wasm_bindgen(getter_with_clone)]
#[derive(Clone, Debug)]
pub struct Explanation {
    /// Number of steps before this update.
    #[wasm_bindgen(readonly)]
    pub step: f64,
    /// Sampled answers, (B).
    #[wasm_bindgen(readonly)]
    pub objects: Vec<u32>,
    /// Rewards r, (B).
    #[wasm_bindgen(readonly)]
    pub rewards: Vec<f64>,
    /// Log-probabilities log π of the samples, (B).
    #[wasm_bindgen(readonly, js_name = logProbs)]
    pub log_probs: Vec<f64>,
    /// Log-probabilities log π_ref of the samples under the reference, (B).
    #[wasm_bindgen(readonly, js_name = refLogProbs)]
    pub ref_log_probs: Vec<f64>,
    /// Shaped rewards r̂, or advantages A, (B).
    #[wasm_bindgen(readonly)]
    pub advantages: Vec<f64>,
    /// Residuals δ, (B); 0 for a baseline.
    #[wasm_bindgen(readonly)]
    pub residuals: Vec<f64>,
    /// −∂ℓ/∂ log π as the mean over the tokens of an answer, (B). If it is above 0, the update makes the answer more
    /// likely.
    #[wasm_bindgen(readonly)]
    pub pushes: Vec<f64>,
    /// Loss ℓ of the batch.
    #[wasm_bindgen(readonly)]
    pub loss: f64,
    /// log Z used by the update; NaN for a baseline.
    #[wasm_bindgen(readonly, js_name = logZBefore)]
    pub log_z_before: f64,
    /// log Z after the update; NaN if none is learned.
    #[wasm_bindgen(readonly, js_name = logZAfter)]
    pub log_z_after: f64,
    /// Probabilities of the answers before the update, (objects).
    #[wasm_bindgen(readonly)]
    pub before: Vec<f64>,
    /// Probabilities of the answers after the update, (objects).
    #[wasm_bindgen(readonly)]
    pub after: Vec<f64>,
}

impl Race {
    /// Explains the next step of a lane, or the one that followed after `step` steps, with the present β and task. This
    /// does not change the race.
    ///
    /// ```
    /// use flowrl_lab::{Landscape, LandscapeOptions};
    /// use flowrl_wasm::{LaneKind, LaneOptions, Race, RaceOptions, shared};
    /// let lanes = vec![LaneOptions { kind: LaneKind::FlowRl, exploration: 0.0, replay: 0.0 }];
    /// let landscape = shared(Landscape::preset(LandscapeOptions::default())?);
    /// let mut race = Race::new(landscape, RaceOptions { lanes, ..RaceOptions::default() })?;
    /// race.run(23)?;
    /// let next = race.explain(0, None)?;
    /// race.run(1)?;
    /// assert_eq!((next.step, &next.after), (23.0, &race.explain(0, None)?.before));
    /// // The same update, explained later.
    /// race.run(30)?;
    /// assert_eq!(race.explain(0, Some(23.0))?.after, next.after);
    /// assert_eq!(race.step(), 54);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if there is no such lane, if `step` is negative, or if a number is not finite.
    pub fn explain(&mut self, lane: usize, step: Option<f64>) -> Result<Explanation, Error> {
        let options = self.options().clone();
        let step = step.unwrap_or(f64::INFINITY);
        let past = if step < self.step() as f64 { Some(self.snapshot_at(step)?) } else { None };
        let now = self.step();
        let current = self.lane(lane)?;
        let environment = current.task.environment().clone();
        let (step, from, state) = match past {
            Some(mut then) => (step as u64, then.step, then.lanes.swap_remove(lane)),
            None => (now, now, current.state()?),
        };
        let mut lane = Lane::new(&environment, &options, current.options)?;
        lane.restore(&state)?;
        for _ in from..step {
            lane.step(&options)?;
        }
        let before = lane.log_probs()?;
        let rollouts = lane.collect(&options)?;
        let evaluation = evaluate(&mut lane, &rollouts)?;
        let used = match lane.trainer.log_z() {
            LogZModel::Scalar { state } => state[0],
            _ => evaluation.log_z.first().map_or(f64::NAN, |&log_z| f64::from(log_z)),
        };
        let [log_probs, ref_log_probs, _] = scores(&mut lane, &rollouts)?;
        lane.trainer.learn(&mut lane.policy, &rollouts)?;
        let after = lane.log_probs()?;

        let offsets = &rollouts.completions.offsets;
        let sum = |log_probs: &[f32], i| log_probs[offsets[i]..offsets[i + 1]].iter().map(|&l| f64::from(l)).sum();
        let count = rollouts.len();
        let exp = |log_probs: &[f64]| log_probs.iter().map(|&l| Real::exp(l)).collect();
        let wide = |values: &[f32]| values.iter().map(|&x| f64::from(x)).collect();
        Ok(Explanation {
            step: step as f64,
            objects: (0..count).map(|i| object_of(&environment, rollouts.completions.get(i)) as u32).collect(),
            rewards: wide(&rewards(&rollouts)),
            log_probs: (0..count).map(|i| sum(&log_probs, i)).collect(),
            ref_log_probs: (0..count).map(|i| sum(&ref_log_probs, i)).collect(),
            advantages: wide(&evaluation.advantages),
            residuals: wide(&evaluation.residuals),
            pushes: (0..count)
                .map(|i| {
                    let slopes = evaluation.d_log_probs(i);
                    -slopes.iter().map(|&d| f64::from(d)).sum::<f64>() / slopes.len().max(1) as f64
                })
                .collect(),
            loss: evaluation.loss,
            log_z_before: used,
            log_z_after: lane.log_z(),
            before: exp(&before),
            after: exp(&after),
        })
    }
}

/// Returns the log-probabilities of the tokens under the policy and under the reference, and the policy's entropies.
/// Without a reference, its log-probabilities are 0.
fn scores(lane: &mut Lane, rollouts: &Rollouts<f32>) -> Result<[Vec<f32>; 3], Error> {
    let completions = rollouts.completions.slices();
    let sequences =
        Sequences { prompts: &[&[0]], completions: &completions, prompt_of: &rollouts.completions.prompt_of };
    let Scores { log_probs, entropies } = lane.policy.score(&sequences, Model::Policy, 1.0)?;
    let ref_log_probs = match lane.policy.score(&sequences, Model::Reference, 1.0) {
        Ok(scores) => scores.log_probs,
        Err(PolicyError::NoReference) => vec![0.0; log_probs.len()],
        Err(error) => return Err(error.into()),
    };
    Ok([log_probs, ref_log_probs, entropies])
}

/// Evaluates the objective on a batch, as the update does before its first step.
fn evaluate(lane: &mut Lane, rollouts: &Rollouts<f32>) -> Result<Evaluation<f32>, Error> {
    let [log_probs, ref_log_probs, entropies] = scores(lane, rollouts)?;
    let backend = Backend::reference();
    let mut log_z = None;
    let mut value = None;
    match lane.trainer.log_z_mut() {
        LogZModel::Scalar { state } => log_z = Some(state[0] as f32),
        LogZModel::Value(network) => {
            let mut hidden = backend.zeros(network.width())?;
            lane.policy.represent(&[&[0]], &mut hidden)?;
            value = network.forward(&backend, &hidden, 1, None)?.first().copied();
        }
        _ => {}
    }
    let count = rollouts.len();
    let each = |number: Option<f32>| number.map(|number| vec![number; count]);
    let (log_z, values) = (each(log_z), each(value));
    let completions = &rollouts.completions;
    let batch = Batch {
        offsets: &completions.offsets,
        groups: &completions.prompt_of,
        advantages: &[],
        log_probs: &log_probs,
        ref_log_probs: Some(&ref_log_probs),
        old_log_probs: Some(&completions.log_probs),
        log_flows: None,
        entropies: Some(&entropies),
        log_z: log_z.as_deref(),
        ..Batch::default()
    };
    let rewards = rewards(rollouts);
    let outcomes = Outcomes { rewards: &rewards, values: values.as_deref(), ..Outcomes::default() };
    Ok(lane.trainer.objective().compute_packed(outcomes, batch)?)
}

/// Returns the raw rewards. Tasks of the lab leave no completion out.
fn rewards(rollouts: &Rollouts<f32>) -> Vec<f32> {
    (0..rollouts.len()).filter_map(|i| rollouts.reward(i)).collect()
}
