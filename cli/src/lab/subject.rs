//! The subject of a run that trains a small policy on a task of the lab.

use std::path::Path;

use anyhow::Result;
use flowrl_core::backend::CpuBackend;
use flowrl_core::exact::log_sum_exp;
use flowrl_core::policy::Policy;
use flowrl_core::train::{LogZModel, Metrics, Progress, Rollouts, Trainer};
use flowrl_lab::{Environment, Lab, LabPolicy, LabTask, Network, Walk, terminal, walk};
use flowrl_lm::prompts::Prompt;
use flowrl_lm::rollouts::RolloutRow;

use super::picture::Picture;
use super::truth::Truth;
use crate::config::{Config, TaskSection};
use crate::metrics::{self, Record, before_and_after};
use crate::run::subject::{EvalPart, Show, State, Trainable, restore_trainer, row};
use crate::run_dir::RunDir;

/// The policy with its trainer, its task, and the task's exact target.
#[derive(Debug)]
pub(super) struct LabSubject<N> {
    policy: LabPolicy<f32, Lab, N>,
    trainer: Trainer<CpuBackend<f32>>,
    task: LabTask<Lab>,
    section: TaskSection,
    batch: usize,
    truth: Truth,
}

impl<N: Network<f32>> LabSubject<N> {
    pub(super) fn new(
        config: &Config,
        policy: LabPolicy<f32, Lab, N>,
        trainer: Trainer<CpuBackend<f32>>,
        truth: Truth,
    ) -> Self {
        let task = LabTask::new(truth.lab.clone());
        Self { policy, trainer, task, section: config.task.clone(), batch: config.train.batch, truth }
    }

    /// Returns the log-probability of every object under the policy.
    fn learned(&mut self) -> Result<Vec<f64>> {
        let table = self.policy.log_pf_table()?;
        let mut log_probs = vec![0.0; self.truth.lab.objects()];
        terminal(&self.truth.lab, &table, &mut log_probs)?;
        // In single precision the sum differs from 1 by about 1e-7, which could make a divergence negative.
        let total = log_sum_exp(&log_probs);
        log_probs.iter_mut().for_each(|l| *l -= total);
        Ok(log_probs)
    }
}

impl<N: Network<f32> + std::fmt::Debug> Trainable for LabSubject<N> {
    fn progress(&self) -> Progress {
        self.trainer.progress()
    }

    fn collect(&mut self) -> Result<Rollouts<f32>> {
        Ok(self.trainer.collect(&mut self.policy, &self.task)?)
    }

    fn learn(&mut self, rollouts: &Rollouts<f32>) -> Result<Metrics> {
        Ok(self.trainer.learn(&mut self.policy, rollouts)?)
    }

    fn evaluate(&mut self, record: &mut Record) -> Result<Vec<(EvalPart, Rollouts<f32>)>> {
        let log_z = match self.trainer.log_z() {
            LogZModel::Scalar { state } => Some(state[0]),
            _ => record.number("log_z_mean"),
        };
        let log_probs = self.learned()?;
        // The exact error of log Z replaces the objective's own estimate.
        for (name, value) in self.truth.measure(&log_probs, log_z)? {
            record.set(name, value);
        }
        Ok(Vec::new())
    }

    fn save(&self, _: &Path) -> Result<State> {
        let policy = self.policy.state()?.into_iter().map(|(name, values)| (format!("policy.{name}"), values));
        Ok(policy.chain(self.trainer.log_z().state(self.policy.backend())?).collect())
    }

    fn load(&mut self, folder: &Path, state: &mut State, progress: Progress) -> Result<()> {
        self.policy.restore(|name| state.remove(&format!("policy.{name}")))?;
        restore_trainer(&mut self.trainer, self.policy.backend(), folder, state, progress)
    }
}

impl<N: Network<f32> + std::fmt::Debug> Show for LabSubject<N> {
    fn parameters(&self) -> u64 {
        self.policy.weights() as u64
    }

    fn headline(&self) -> String {
        format!(
            "{} of {} objects, a policy of {} parameters",
            self.section.kind.name(),
            self.truth.lab.objects(),
            self.parameters()
        )
    }

    /// Returns `true`, because a step takes about a millisecond, and writing a line for each would take longer.
    fn is_brief(&self) -> bool {
        true
    }

    fn describe(&self, rollouts: &Rollouts<f32>, seconds: f64, record: &mut Record) {
        let step = record.step().unwrap_or(0);
        record.set("trajectories", step as f64 * self.batch as f64);
        record.set("trajectories_per_s", rollouts.len() as f64 / seconds);
    }

    fn row(&self, rollouts: &Rollouts<f32>, i: usize, _: Option<&EvalPart>) -> Option<RolloutRow> {
        let completion = match walk(self.task.environment(), rollouts.completions.get(i)) {
            Walk::Finished(object) => Some(self.truth.lab.name(object)),
            _ => None,
        };
        Some(RolloutRow { completion, ..row(rollouts, i, Prompt::Text(self.section.kind.name().into())) })
    }

    fn message(&self, record: &Record) -> String {
        let number = |name| record.number(name);
        let log_z = number("log_z_error").map(|error| format!("  log Z error {error:+.4}")).unwrap_or_default();
        format!("TV {:.4}{log_z}", number("tv").unwrap_or(f64::NAN))
    }

    fn measured(&self, _: &Record) -> Option<String> {
        None
    }

    fn finish(&mut self, directory: &RunDir) -> Result<()> {
        let learned = self.learned()?;
        Picture::of(&self.section, &self.truth, &learned).write(directory)
    }

    fn summary(&self, directory: &RunDir) -> Result<Vec<String>> {
        let records = metrics::read(&directory.metrics())?;
        let Some(last) = records.last() else { return Ok(Vec::new()) };
        let mut lines = before_and_after("exact measures", None, &records);
        let number = |name| last.number(name).unwrap_or(0.0);
        lines.push(format!(
            "{} trajectories in {:.1} s, {:.1} s of processor time, without evaluations",
            number("trajectories"),
            number("wall_s"),
            number("cpu_s")
        ));
        lines.push(String::new());
        Ok(lines)
    }
}
