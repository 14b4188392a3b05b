//! The subject of a run that trains a language model on prompts.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Once};

use anyhow::{Result, ensure};
use flowrl_core::objective::{Length, LogZ, Objective, Reward};
use flowrl_core::policy::Policy;
use flowrl_core::task::Task;
use flowrl_core::train::{LogZModel, Metrics, Progress, PromptOrder, Rollouts, TrainOptions, Trainer};
use flowrl_lm::backend::TransformerBackend;
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::config::Dtype;
use flowrl_lm::evaluate::Evaluation;
use flowrl_lm::prompts::PromptRow;
use flowrl_lm::rollouts::RolloutRow;
use flowrl_lm::{TransformerPolicy, Wave, WaveListener, load_policy, load_weights, save_policy};

use super::summary;
use crate::config::{Config, EvalSection};
use crate::measure::measure;
use crate::metrics::sets::in_set;
use crate::metrics::{Record, error_name, headlines};
use crate::run::duration;
use crate::run::subject::{EvalPart, NOT_FINITE, Show, State, Trainable, restore_trainer, row};
use crate::run_dir::RunDir;
use crate::session::{HeldOut, Session, Tasks};
use crate::stored::StoredRollouts;
use crate::{note, signals, warn};

/// The model with its trainer, its prompts, and the stored completions if it learns from those.
#[derive(Debug)]
pub(super) struct Text<B: TransformerBackend> {
    origin: Checkpoint,
    tasks: Tasks,
    policy: TransformerPolicy<B>,
    trainer: Trainer<B>,
    stored: Option<StoredRollouts>,
    eval: EvalSection,
    /// Whether a warning has said that evaluations leave completions out.
    told_of_left_out: bool,
}

impl<B: TransformerBackend<Real = f32>> Text<B> {
    /// Loads the model onto a device and creates its trainer.
    pub(super) fn open(config: &Config, session: Session, device: B) -> Result<Self> {
        let frozen = session.frozen_log_z(config)?;
        let Session { origin, tasks, stored, .. } = session;
        let mut policy = load_policy(device, &origin)?;
        policy.set_recompute(config.model.recompute == Some(true));
        policy.limits.wave = config.sampling.wave.unwrap_or(0);
        if !config.sampling.stop.is_empty() {
            policy.limits.rule = Some(Arc::new(tasks.train.text().clone()));
        }
        policy.limits.listener = Some(first_wave(config, &tasks));
        policy.limits.interrupt = Some(Arc::new(|| signals::stop().is_some()));
        let (objective, options) = (config.objective()?, config.train_options()?);
        if objective.corrects_rollouts() {
            tell_of_rollout_weights(stored.as_ref());
        }
        tell_of_slow_pass_rates(config, &objective);
        let mut trainer = Trainer::new(&policy, objective, options)?;
        trainer.set_parts(tasks.parts.clone());
        if let Some(log_z) = frozen {
            *trainer.log_z_mut() = LogZModel::Frozen(log_z);
        }
        tell_of_cut_sets(config, &tasks);
        Ok(Self { origin, tasks, policy, trainer, stored, eval: config.eval.clone(), told_of_left_out: false })
    }

    /// Returns the mean |log Z_φ(x) − log Z(x)| over held-out prompts, if log Z is learned and has an exact value,
    /// which is the case for plain trajectory balance on raw rewards.
    fn log_z_error(&mut self, found: &Evaluation<f32>) -> Result<Option<f64>> {
        let Objective::FlowRl(flow) = self.trainer.objective() else { return Ok(None) };
        if flow.length != Length::Sum || flow.reward != Reward::Raw || found.exact.is_empty() {
            return Ok(None);
        }
        let prompts: Vec<&[u32]> = found.exact.iter().map(|&(i, _)| found.rollouts.prompts[i].as_slice()).collect();
        let learned: Vec<f32> = match self.trainer.log_z_mut() {
            LogZModel::Scalar { state } => vec![state[0] as f32; prompts.len()],
            LogZModel::Network(network) => {
                let mut hidden = self.policy.backend().zeros(prompts.len() * network.width())?;
                self.policy.represent(&prompts, &mut hidden)?;
                network.forward(self.policy.backend(), &hidden, prompts.len(), None)?
            }
            _ => return Ok(None),
        };
        let errors = learned.iter().zip(&found.exact).map(|(z, (_, exact))| (f64::from(*z) - exact.log_z).abs());
        Ok(Some(errors.sum::<f64>() / learned.len() as f64))
    }
}

/// Says of named sets that evaluations measure only a part of them.
fn tell_of_cut_sets(config: &Config, tasks: &Tasks) {
    for HeldOut { name, task, .. } in &tasks.held_out {
        let (prompts, all) = (config.eval.prompts, task.prompts());
        if let Some(name) = name.as_ref().filter(|_| 0 < prompts && prompts < all) {
            note!(
                "evaluations measure the first {prompts} of {all} prompts of {name}: set eval.prompts to measure more"
            );
        }
    }
}

/// Warns if log Z learns too slowly to tell the pass rates of prompts.
fn tell_of_slow_pass_rates(config: &Config, objective: &Objective) {
    let (beta, rate) = (objective.beta().unwrap_or(1.0), config.log_z.learning_rate);
    let is_table = objective.log_z() == Some(LogZ::Table);
    if config.train.prompt_order == PromptOrder::PassRate && is_table && rate < beta / 200.0 {
        warn!(
            "train.prompt_order = \"pass-rate\" changes little, because log_z.learning_rate = {rate} moves the pass rate of a \
             prompt by only {:.2} % per visit; set it to about {}",
            100.0 * rate / beta,
            beta / 20.0
        );
    }
}

/// Warns of completions that `objective.rollout_correction` cannot correct.
fn tell_of_rollout_weights(stored: Option<&StoredRollouts>) {
    match stored.map(StoredRollouts::without_log_probs) {
        None => warn!(
            "objective.rollout_correction corrects completions of another engine, but this run samples with the one that trains: all \
             rollout weights are 1; remove it, or give stored completions with --rollouts"
        ),
        Some((_, 0)) => {}
        Some((rows, without)) => warn!(
            "{without} of {rows} stored completions have no `old_logp`: their rollout weights are 1; store the log-probabilities of the \
             engine that sampled them, or remove objective.rollout_correction"
        ),
    }
}

/// Returns the mean of every part of the rewards, by the name of its metric.
fn mean_parts(rollouts: &Rollouts<f32>) -> BTreeMap<String, f64> {
    let mut sums: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for (name, reward) in rollouts.judgements.iter().flat_map(|judgement| &judgement.parts) {
        let (sum, count) = sums.entry(format!("reward_{name}")).or_default();
        (*sum, *count) = (*sum + reward, *count + 1.0);
    }
    sums.into_iter().map(|(name, (sum, count))| (name, sum / count)).collect()
}

/// Returns the reason why a completion stopped, in the terms of `rollouts.jsonl`.
fn finish_reason(ended: bool, tokens: &[u32], text: &flowrl_lm::task::Text) -> &'static str {
    match (ended, tokens.last()) {
        (false, _) => "length",
        (true, Some(last)) if !text.end_tokens().contains(last) => "stop_sequence",
        (true, _) => "stop",
    }
}

/// Returns a listener that reports, once, after the first wave of completions, the speed of sampling and the time that
/// an evaluation and a step may take.
fn first_wave(config: &Config, tasks: &Tasks) -> WaveListener {
    let (told, tokens) = (Once::new(), config.max_tokens());
    let prompts: usize = tasks.held_out.iter().map(|set| set.measured(config.eval.prompts)).sum();
    let evaluation = prompts * (config.eval.samples + usize::from(config.eval.greedy)) * tokens;
    let step = config.train.prompts * (1 + config.train.dynamic_sampling) * config.train.samples * tokens;
    Arc::new(move |wave: Wave| {
        told.call_once(|| {
            let rate = wave.tokens as f64 / wave.seconds.max(1e-9);
            let at_most = |tokens: usize| duration(tokens as f64 / rate);
            let (evaluation, step) = (at_most(evaluation), at_most(step));
            note!("sampling {rate:.0} tokens/s: the completions of an evaluation take at most {evaluation}, those of a step {step}");
        });
    })
}

impl<B> Trainable for Text<B>
where
    B: TransformerBackend<Real = f32> + std::fmt::Debug,
{
    fn progress(&self) -> Progress {
        self.trainer.progress()
    }

    fn collect(&mut self) -> Result<Rollouts<f32>> {
        match &self.stored {
            None => Ok(self.trainer.collect(&mut self.policy, &self.tasks.train)?),
            Some(stored) => {
                let (step, corrects) = (self.trainer.progress().step, self.trainer.objective().corrects_rollouts());
                stored.step(&mut self.policy, step, self.trainer.options(), corrects)
            }
        }
    }

    fn learn(&mut self, rollouts: &Rollouts<f32>) -> Result<Metrics> {
        Ok(self.trainer.learn(&mut self.policy, rollouts)?)
    }

    /// Evaluates the model on every set of held-out prompts.
    fn evaluate(&mut self, record: &mut Record) -> Result<Vec<(EvalPart, Rollouts<f32>)>> {
        let EvalSection { prompts, samples, greedy, .. } = self.eval;
        let mut parts = Vec::new();
        if prompts == 0 {
            return Ok(parts);
        }
        let beta = self.trainer.objective().beta();
        let options = TrainOptions { samples, ..*self.trainer.options() };
        for i in 0..self.tasks.held_out.len() {
            let set = &self.tasks.held_out[i];
            let (found, name) = (measure(&mut self.policy, set, prompts, &options, beta, greedy)?, set.name.clone());
            self.told_of_left_out = self.told_of_left_out || found.warn_of_left_out();
            for (metric, value) in &found.sampled.metrics {
                record.set(&in_set(name.as_deref(), metric), *value);
            }
            for (metric, error) in &found.sampled.standard_errors {
                record.set(&error_name(&in_set(name.as_deref(), metric)), *error);
            }
            if let Some(error) = self.log_z_error(&found.sampled)? {
                record.set(&in_set(name.as_deref(), "eval_log_z_error"), error);
            }
            parts.push((EvalPart { set: name.clone(), greedy: false }, found.sampled.rollouts));
            parts.extend(found.greedy.map(|found| (EvalPart { set: name, greedy: true }, found.rollouts)));
        }
        Ok(parts)
    }

    /// Saves the model as a Hugging Face folder in full precision.
    fn save(&self, folder: &Path) -> Result<State> {
        ensure!(self.policy.is_finite()?, "{}", NOT_FINITE);
        save_policy(folder, &self.policy, &self.origin, Dtype::F32)?;
        let mut lists = State::new();
        for (i, [first, second]) in self.policy.moments()?.into_iter().enumerate() {
            lists.insert(format!("policy.{i}.first_moment"), first);
            lists.insert(format!("policy.{i}.second_moment"), second);
        }
        lists.extend(self.trainer.log_z().state(self.policy.backend())?);
        Ok(lists)
    }

    fn load(&mut self, folder: &Path, state: &mut State, progress: Progress) -> Result<()> {
        self.policy.set_weights(load_weights(self.policy.backend(), &Checkpoint::open(folder)?)?)?;
        let mut moments = Vec::new();
        while let (Some(first), Some(second)) = (
            state.remove(&format!("policy.{}.first_moment", moments.len())),
            state.remove(&format!("policy.{}.second_moment", moments.len())),
        ) {
            moments.push([first, second]);
        }
        self.policy.restore_moments(&moments)?;
        restore_trainer(&mut self.trainer, self.policy.backend(), folder, state, progress)
    }
}

impl<B> Show for Text<B>
where
    B: TransformerBackend<Real = f32> + std::fmt::Debug,
{
    fn parameters(&self) -> u64 {
        self.origin.config().parameter_count()
    }

    fn headline(&self) -> String {
        let millions = self.parameters() as f64 / 1e6;
        let model = match self.origin.path().file_name() {
            Some(name) => name.to_string_lossy().into_owned(),
            None => self.origin.path().display().to_string(),
        };
        let prompts = match (&self.stored, self.tasks.train.is_generated()) {
            (Some(stored), _) => format!("stored completions of {} prompts", stored.prompts()),
            (None, true) => "generated prompts".to_owned(),
            (None, false) => format!("{} prompts", self.tasks.train.prompts()),
        };
        let held_out = self.tasks.held_out.iter().map(|set| (&set.name, set.measured(self.eval.prompts)));
        let held_out: Vec<String> = held_out
            .filter(|(_, prompts)| *prompts > 0)
            .map(|(name, prompts)| match name {
                None => format!("{prompts} held out"),
                Some(name) => format!("{prompts} of {name}"),
            })
            .collect();
        let held_out = match (held_out.join(", "), self.eval.samples) {
            (sets, _) if sets.is_empty() => "none held out".to_owned(),
            (sets, samples) => format!("{sets} to measure on, {samples} completions of each"),
        };
        format!("{model} of {millions:.1} M parameters, {prompts}, {held_out}")
    }

    fn is_brief(&self) -> bool {
        false
    }

    fn describe(&self, rollouts: &Rollouts<f32>, seconds: f64, record: &mut Record) {
        let prompts: usize = rollouts.completions.prompt_of.iter().map(|&p| rollouts.prompts[p].len()).sum();
        record.set("tokens_per_s", (prompts + rollouts.completions.tokens.len()) as f64 / seconds);
        for (name, value) in self.tasks.train.verifier().take_metrics() {
            record.set(name, value);
        }
        for (name, value) in mean_parts(rollouts) {
            record.set(&name, value);
        }
    }

    fn row(&self, rollouts: &Rollouts<f32>, i: usize, of: Option<&EvalPart>) -> Option<RolloutRow> {
        let task = match of {
            Some(part) => &self.tasks.held_out.iter().find(|set| set.name == part.set)?.task,
            None if self.stored.is_some() => return None,
            None => &self.tasks.train,
        };
        let completions = &rollouts.completions;
        let number = rollouts.prompt_numbers[completions.prompt_of[i]];
        let PromptRow { prompt, chat, .. } = task.row(number).clone();
        let tokens = completions.get(i);
        Some(RolloutRow {
            chat,
            completion: Some(task.text().decode(tokens)),
            group: Some(number as u64),
            finish_reason: Some(finish_reason(completions.ended[i], tokens, task.text()).to_owned()),
            ..row(rollouts, i, prompt)
        })
    }

    fn message(&self, record: &Record) -> String {
        let number = |name| record.number(name).unwrap_or(f64::NAN);
        let (reward, length, cut) =
            (number("reward_mean"), number("length_mean"), 100.0 * number("truncated_fraction"));
        format!("reward {reward:.3}  length {length:.1}  cut {cut:.0} %")
    }

    fn measured(&self, record: &Record) -> Option<String> {
        headlines(record)
    }

    fn finish(&mut self, _: &RunDir) -> Result<()> {
        Ok(())
    }

    fn summary(&self, directory: &RunDir) -> Result<Vec<String>> {
        summary::lines(directory, self.stored.is_some())
    }
}
