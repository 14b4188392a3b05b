//! Learning from judged completions: the updates of one step.

use alloc::vec;
use alloc::vec::Vec;

use super::rollouts::Part;
use super::{LogZModel, Metrics, Rollouts, TrainError, Trainer};
use crate::Real;
use crate::backend::Backend;
use crate::objective::{self, Batch, Diagnostics, Gradients, Mask, Objective, Outcomes, Totals};
use crate::optim::clip_scale;
use crate::policy::{Model, Policy, RealOf, Scores};

/// The values that stay the same over all updates of a step.
struct Fixed<'a, T> {
    rollouts: &'a Rollouts<T>,
    /// Raw rewards less the overlong penalty.
    rewards: Vec<T>,
    advantages: Vec<T>,
    masks: Vec<Mask>,
    ref_log_probs: Option<Vec<T>>,
    on_graph: bool,
}

/// Sums over the updates of a step.
#[derive(Default)]
struct Tally {
    diagnostics: Diagnostics,
    first_ratio_deviation: Option<f64>,
    value_loss: f64,
    grad_norm: f64,
    log_z_grad_norm: Option<f64>,
    /// Number of updates, including the skipped ones.
    updates: u64,
    /// Number of updates that were not skipped.
    applied: u64,
}

impl<B: Backend> Trainer<B> {
    /// Learns from rollouts and completes a step, which takes `epochs`·`minibatches` optimiser steps.
    ///
    /// If the gradient of an optimiser step is not finite, the step is skipped and counted in `skipped_updates`, which
    /// is a running total.
    ///
    /// # Errors
    /// Returns an error if the policy fails, the objective refuses its input, or the rollouts are inconsistent or not
    /// sorted by prompt.
    pub fn learn<P: Policy<Backend = B>>(
        &mut self,
        policy: &mut P,
        rollouts: &Rollouts<RealOf<P>>,
    ) -> Result<Metrics, TrainError<P::Error>> {
        rollouts.validate()?;
        let mut metrics = rollouts.metrics();
        metrics.extend(self.overlong_mean(rollouts));
        let selected = rollouts.to_learn();
        let learned = selected.as_ref().unwrap_or(rollouts);
        let mut tally = Tally::default();
        // Dynamic sampling may have left no group to learn from, and the task no reward.
        if !learned.is_empty() {
            metrics.extend(learned.rollout_metrics(&self.objective));
            let fixed = self.prepare(policy, learned)?;
            let count = learned.prompts.len();
            let size = count.div_ceil(self.options.minibatches);
            for _ in 0..self.options.epochs {
                for start in (0..count).step_by(size) {
                    self.update(policy, &fixed, start..(start + size).min(count), &mut tally)?;
                }
            }
        }
        self.progress.step += 1;
        self.progress.extra_batches +=
            rollouts.selection.as_ref().map_or(0, |selection| selection.batches.saturating_sub(1));

        let (updates, applied) = (tally.updates.max(1) as f64, tally.applied.max(1) as f64);
        tally.diagnostics.loss /= updates;
        metrics.extend(tally.diagnostics.metrics());
        if matches!(self.log_z, LogZModel::Value(_)) {
            metrics.push(("value_loss", tally.value_loss / updates));
        }
        metrics.extend(tally.first_ratio_deviation.map(|x| ("first_ratio_deviation", x)));
        metrics.push(("grad_norm", tally.grad_norm / applied));
        metrics.extend(tally.log_z_grad_norm.map(|x| ("log_z_grad_norm", x / applied)));
        metrics.push(("learning_rate", self.options.schedule.at(self.progress.updates.saturating_sub(1))));
        metrics.push(("skipped_updates", self.progress.skipped as f64));
        Ok(metrics)
    }

    /// Returns the mean overlong penalty, if there is one.
    fn overlong_mean<T: Real>(&self, rollouts: &Rollouts<T>) -> Option<(&'static str, f64)> {
        let taken = (0..rollouts.len()).map(|i| self.options.overlong(rollouts.completions.get(i).len())).sum::<f64>();
        (self.options.overlong_buffer > 0).then(|| ("overlong_penalty", taken / rollouts.len() as f64))
    }

    /// Computes the advantages of the whole batch and the reference's log-probabilities, once for all updates.
    fn prepare<'a, P: Policy<Backend = B>>(
        &mut self,
        policy: &mut P,
        rollouts: &'a Rollouts<RealOf<P>>,
    ) -> Result<Fixed<'a, RealOf<P>>, TrainError<P::Error>> {
        let prompt_of = &rollouts.completions.prompt_of;
        let everything = 0..rollouts.prompts.len();
        let values = match &mut self.log_z {
            LogZModel::Value(network) => {
                let prompts: Vec<&[u32]> = rollouts.prompts.iter().map(Vec::as_slice).collect();
                let zeros = policy.backend().zeros(prompts.len() * network.width());
                let mut hidden = zeros.map_err(|e| TrainError::Policy(e.into()))?;
                policy.represent(&prompts, &mut hidden).map_err(TrainError::Policy)?;
                let values = network.forward(policy.backend(), &hidden, prompts.len(), None);
                let values = values.map_err(|e| TrainError::Policy(e.into()))?;
                Some(prompt_of.iter().map(|&p| values[p]).collect::<Vec<_>>())
            }
            _ => None,
        };
        // On a graph L_ref is learned and comes with each forward pass. A policy gradient uses no backward policy.
        let on_graph = matches!(self.objective, Objective::FlowRl(_)) && policy.graph().is_some();
        if let (true, Objective::FlowRl(options)) = (on_graph, &self.objective) {
            let clip = options.residual_clip();
            let wanted = if clip.is_some() { "`\"none\"`" } else { "1" };
            let power = (options.reference_power != 1.0).then_some("reference_power");
            if let Some(option) = clip.or(power) {
                return Err(objective::Error::Conflict { option, with: "task", wanted }.into());
            }
        }
        let ref_log_probs = if self.objective.needs_reference() && !on_graph {
            let temperature = self.options.sampler.temperature;
            let mut log_probs = Vec::with_capacity(rollouts.completions.tokens.len());
            rollouts.parts(everything, self.options.micro_batch, |Part { sequences, tokens, .. }| {
                let scores = policy.score(&sequences, Model::Reference, temperature).map_err(TrainError::Policy)?;
                log_probs.extend(checked(scores, tokens.len())?.log_probs);
                Ok::<(), TrainError<P::Error>>(())
            })?;
            Some(log_probs)
        } else {
            None
        };
        let truncated: Vec<bool> = rollouts.completions.ended.iter().map(|ended| !ended).collect();
        let rewards: Vec<_> = (0..rollouts.len())
            .map(|i| {
                // Completions without a reward were not selected.
                let reward = rollouts.reward(i).unwrap_or_default();
                reward - RealOf::<P>::of(self.options.overlong(rollouts.completions.get(i).len()))
            })
            .collect();
        let outcomes = Outcomes {
            rewards: &rewards,
            groups: prompt_of,
            values: values.as_deref(),
            truncated: Some(&truncated),
            offsets: Some(&rollouts.completions.offsets),
            ref_log_probs: ref_log_probs.as_deref(),
            old_log_probs: Some(&rollouts.completions.log_probs),
        };
        let mut advantages = vec![RealOf::<P>::of(0.0); rollouts.len()];
        let (mut order, mut masks) = (vec![0; rollouts.len()], vec![Mask::In; rollouts.len()]);
        self.objective.advantages(&outcomes, &mut order, &mut advantages, &mut masks).map_err(TrainError::Objective)?;
        Ok(Fixed { rollouts, rewards, advantages, masks, ref_log_probs, on_graph })
    }

    /// Takes one optimiser step over the completions of some prompts.
    fn update<P: Policy<Backend = B>>(
        &mut self,
        policy: &mut P,
        fixed: &Fixed<'_, RealOf<P>>,
        prompts: core::ops::Range<usize>,
        tally: &mut Tally,
    ) -> Result<(), TrainError<P::Error>> {
        let mut totals = Totals { sequences: 0, tokens: 0 };
        fixed.rollouts.parts(prompts.clone(), 0, |part| {
            let Part { completions, .. } = part;
            let offsets = &fixed.rollouts.completions.offsets[completions.start..=completions.end];
            totals = Totals::of(offsets, Some(&fixed.masks[completions]));
            Ok::<(), TrainError<P::Error>>(())
        })?;
        if totals.sequences == 0 {
            return Ok(());
        }
        let device = |e: B::Error| TrainError::Policy(e.into());
        let mut diagnostics = Diagnostics::default();
        let accumulated = fixed.rollouts.parts(prompts, self.options.micro_batch, |part| {
            let (part, value_loss) = self.accumulate(policy, fixed, &part, totals)?;
            diagnostics.merge(&part);
            tally.value_loss += value_loss;
            Ok::<(), TrainError<P::Error>>(())
        });
        if accumulated.is_err() {
            // The gradients of earlier parts must not enter the next update.
            policy.zero_grad().map_err(TrainError::Policy)?;
            self.log_z.zero_grad(policy.backend()).map_err(device)?;
            return accumulated;
        }
        tally.first_ratio_deviation = tally.first_ratio_deviation.or(diagnostics.get("old_log_ratio_max"));
        tally.diagnostics.merge(&diagnostics);
        tally.updates += 1;

        let norm = policy.grad_norm().map_err(TrainError::Policy)?;
        let log_z_norm = self.log_z.grad_norm(policy.backend()).map_err(device)?;
        if !(norm.is_finite() && log_z_norm.is_none_or(f64::is_finite)) {
            policy.zero_grad().map_err(TrainError::Policy)?;
            self.log_z.zero_grad(policy.backend()).map_err(device)?;
            self.progress.skipped += 1;
            return Ok(());
        }
        tally.applied += 1;
        tally.grad_norm += norm;
        let learning_rate = self.options.schedule.at(self.progress.updates);
        self.progress.updates += 1;
        let scale = clip_scale(norm, self.options.clip_norm);
        policy
            .update(&self.options.optimizer.step(learning_rate, self.progress.updates, scale))
            .map_err(TrainError::Policy)?;
        if let Some(norm) = log_z_norm {
            *tally.log_z_grad_norm.get_or_insert(0.0) += norm;
            self.log_z.update(policy.backend(), norm, &self.options, self.progress.updates).map_err(device)?;
        }
        Ok(())
    }

    /// Runs forward pass, objective and backward pass of one part. Gradients add up in the policy and in log Z.
    fn accumulate<P: Policy<Backend = B>>(
        &mut self,
        policy: &mut P,
        fixed: &Fixed<'_, RealOf<P>>,
        part: &Part<'_>,
        totals: Totals,
    ) -> Result<(Diagnostics, f64), TrainError<P::Error>> {
        let zero = RealOf::<P>::of(0.0);
        let device = |e: B::Error| TrainError::Policy(e.into());
        let Part { first_prompt, sequences, completions, tokens } = part;
        let (b, n, p) = (completions.len(), tokens.len(), sequences.prompts.len());
        let width = self.log_z.network().map(|network| network.width());
        let mut hidden = width.map(|width| policy.backend().zeros(p * width)).transpose().map_err(device)?;
        let temperature = self.options.sampler.temperature;
        let scores = policy.forward(sequences, temperature, hidden.as_mut()).map_err(TrainError::Policy)?;
        let Scores { log_probs, entropies } = checked(scores, n)?;

        // log Z or V of each prompt.
        let numbers = &fixed.rollouts.prompt_numbers[*first_prompt..first_prompt + p];
        let training = Some((self.progress.updates as u32, *first_prompt as u32));
        let outputs = match (self.log_z.network(), &hidden) {
            (Some(network), Some(hidden)) => network.forward(policy.backend(), hidden, p, training).map_err(device)?,
            _ => Vec::new(),
        };
        let log_z: Option<Vec<_>> = match &self.log_z {
            LogZModel::Network(_) => Some(sequences.prompt_of.iter().map(|&p| outputs[p]).collect()),
            LogZModel::Scalar { state } => Some(vec![RealOf::<P>::of(state[0]); b]),
            model => {
                let each = |log_z: Vec<f64>| sequences.prompt_of.iter().map(|&p| RealOf::<P>::of(log_z[p])).collect();
                model.of_prompts(numbers)?.map(each)
            }
        };

        // These are copies, since the backend is borrowed from the policy too.
        let graph = policy.graph().filter(|_| fixed.on_graph);
        let own_reference = graph.as_ref().map(|graph| graph.log_backward().to_vec());
        let log_flows = graph.as_ref().and_then(|graph| graph.log_flows()).filter(|_| self.objective.needs_flows());
        let log_flows = log_flows.map(<[_]>::to_vec);
        let mut d_log_probs = vec![zero; n];
        let mut d_log_flows = vec![zero; if self.objective.needs_flows() { n } else { 0 }];
        let mut d_entropies = self.objective.needs_entropies().then(|| vec![zero; n]);
        let mut per_sequence = [vec![zero; b], vec![zero; b], vec![zero; b], vec![zero; b]];
        let [d_log_z, used_log_z, residuals, weights] = &mut per_sequence;
        let rollouts = fixed.rollouts;
        let batch = Batch {
            offsets: &rollouts.completions.offsets[completions.start..=completions.end],
            groups: sequences.prompt_of,
            advantages: &fixed.advantages[completions.clone()],
            log_probs: &log_probs,
            ref_log_probs: own_reference.as_deref().or(fixed.ref_log_probs.as_ref().map(|x| &x[tokens.clone()])),
            old_log_probs: Some(&rollouts.completions.log_probs[tokens.clone()]),
            log_flows: log_flows.as_deref(),
            entropies: Some(&entropies),
            log_z: log_z.as_deref(),
            rollout_log_probs: rollouts.rollout_log_probs.as_ref().map(|x| &x[tokens.clone()]),
            masks: Some(&fixed.masks[completions.clone()]),
        };
        let mut gradients = Gradients {
            d_log_probs: &mut d_log_probs,
            d_log_flows: &mut d_log_flows,
            d_entropies: d_entropies.as_deref_mut().unwrap_or_default(),
            d_log_z,
            log_z: used_log_z,
            residuals,
            weights,
        };
        let diagnostics = policy
            .backend()
            .evaluate(&self.objective, &batch, totals, &mut vec![0; b], &mut gradients)
            .map_err(TrainError::of_objective)?;
        if let Some(graph) = policy.graph().filter(|_| fixed.on_graph) {
            // The residual contains log π − log P_B.
            let d_log_backward: Vec<_> = d_log_probs.iter().map(|&d| -d).collect();
            graph.set_gradient(&d_log_backward, self.objective.needs_flows().then_some(&d_log_flows));
        }

        // The backward pass through log Z or V, which is one number for each prompt.
        let mut loss = 0.0;
        let mut d_hidden = None;
        let per_prompt = |d: &[RealOf<P>]| {
            let mut sums = vec![zero; p];
            sequences.prompt_of.iter().zip(d).for_each(|(&p, &d)| sums[p] += d);
            sums
        };
        match &mut self.log_z {
            LogZModel::None | LogZModel::Frozen(_) => {}
            table @ LogZModel::Table { .. } => {
                let gradients = sequences.prompt_of.iter().zip(d_log_z.iter());
                table.add_gradients(gradients.map(|(&p, d)| (numbers[p], d.f64())));
            }
            LogZModel::Scalar { state } => state[1] += d_log_z.iter().map(|d| d.f64()).sum::<f64>(),
            LogZModel::Network(network) => {
                if let Some(hidden) = &hidden {
                    if !self.options.detach_trunk {
                        d_hidden = Some(policy.backend().zeros(p * network.width()).map_err(device)?);
                    }
                    let d_outputs = per_prompt(d_log_z);
                    network.backward(policy.backend(), hidden, &d_outputs, d_hidden.as_mut()).map_err(device)?;
                }
            }
            LogZModel::Value(network) => {
                let values: Vec<_> = sequences.prompt_of.iter().map(|&p| outputs[p]).collect();
                let mut d_values = vec![zero; b];
                let rewards = &fixed.rewards[completions.clone()];
                let computed = policy.backend().value_loss(rewards, &values, totals.sequences, &mut d_values);
                loss = computed.map_err(TrainError::of_objective)?;
                if let Some(hidden) = &hidden {
                    network.backward(policy.backend(), hidden, &per_prompt(&d_values), None).map_err(device)?;
                }
            }
        }
        policy.backward(&d_log_probs, d_entropies.as_deref(), d_hidden.as_ref()).map_err(TrainError::Policy)?;
        Ok((diagnostics, loss))
    }
}

/// Returns the scores if there is one for each of `tokens` tokens.
fn checked<T, E>(scores: Scores<T>, tokens: usize) -> Result<Scores<T>, TrainError<E>> {
    match (scores.log_probs.len(), scores.entropies.len()) {
        (l, h) if l == tokens && h == tokens => Ok(scores),
        (l, h) => Err(TrainError::Scores { got: if l == tokens { h } else { l }, wanted: tokens }),
    }
}
