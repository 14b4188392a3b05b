//! Runs in the lab: small policies on tasks with a known target, measured exactly.

pub(crate) mod picture;
mod subject;
pub(crate) mod truth;

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{self, Objective};
use flowrl_core::train::Trainer;
use flowrl_lab::{
    Bandit, BanditOptions, BitsOptions, Environment, Error, HeadOptions, HypergridOptions, Lab, LabKind, LabOptions,
    LabPolicy, Landscape, LandscapeOptions, MlpOptions, Network, StringsOptions,
};

use crate::config::{Arithmetic, Config, PolicyKind, TaskKind, TaskSection};
use crate::run::subject::Subject;
use subject::LabSubject;
use truth::Truth;

/// Opens the task of a configuration if it is of the lab, and sets `sampling.max_tokens` to its longest trajectory.
pub fn task(config: &mut Config) -> Result<Option<Lab>> {
    if !config.task.kind.is_lab() {
        return Ok(None);
    }
    let lab = config.task.open_lab()?;
    config.sampling.max_tokens = Some(lab.max_length());
    Ok(Some(lab))
}

/// Opens the policy of a configuration for its task, as [`task`] opened it.
pub fn open(config: &Config, lab: Lab) -> Result<Box<dyn Subject>> {
    let objective = config.objective()?;
    if let Objective::PolicyGradient(baseline) = &objective
        && baseline.kl != 0.0
        && !lab.is_tree()
    {
        bail!(
            "objective.kl is {}, but must be 0 for task {}: its objects are reached in several ways, so it has no reference policy",
            baseline.kl,
            config.task.kind
        );
    }
    let backend = backend(config)?;
    let heads = HeadOptions { backward: config.policy.backward, flows: objective.needs_flows() };
    let truth = Truth::new(lab.clone(), &objective, beta(config, &objective))?;
    match config.policy.kind {
        PolicyKind::Tabular => subject(config, truth, objective, LabPolicy::table(backend, lab, heads)?),
        PolicyKind::Mlp => {
            let mlp = MlpOptions { width: config.policy.width, layers: config.policy.layers };
            subject(config, truth, objective, LabPolicy::mlp(backend, lab, mlp, heads, config.train.seed)?)
        }
    }
}

/// Opens the CPU with the arithmetic of a configuration. The reference arithmetic has one thread.
fn backend(config: &Config) -> Result<CpuBackend<f32>> {
    match (config.train.arithmetic, config.train.threads) {
        (Arithmetic::Fast, threads) => Ok(CpuBackend::new(threads)),
        (Arithmetic::Reference, 1) => Ok(CpuBackend::reference()),
        (Arithmetic::Reference, threads) => {
            bail!(
                "train.threads is {threads}, but must be 1 with train.arithmetic = \"reference\", which is not divided among threads"
            )
        }
    }
}

fn subject<N: Network<f32> + std::fmt::Debug + 'static>(
    config: &Config,
    truth: Truth,
    objective: Objective,
    mut policy: LabPolicy<f32, Lab, N>,
) -> Result<Box<dyn Subject>> {
    policy.set_exploration(config.policy.exploration)?;
    let options = config.train_options()?;
    let trainer = Trainer::new(&policy, objective, options)?;
    Ok(Box::new(LabSubject::new(config, policy, trainer, truth)))
}

/// Returns β of the exact target: `eval.target_beta` if it is set, else the objective's β. A policy gradient has none,
/// so this function returns the task's β for it.
pub(crate) fn beta(config: &Config, objective: &Objective) -> f64 {
    config.eval.target_beta.or(objective.beta()).unwrap_or_else(|| config.task.kind.beta())
}

impl TaskSection {
    /// Opens this task of the lab.
    ///
    /// # Errors
    /// Returns an error if an option is out of range or the task is not of the lab.
    pub fn open_lab(&self) -> Result<Lab> {
        let Self { size, reference, side, dim, reward, bits, word, modes, length, symbols, seed, .. } = *self;
        let TaskKind::Lab(kind) = self.kind else { bail!("task {} is not of the lab", self.kind) };
        match kind {
            LabKind::Bandit => match &self.rewards {
                None => LabOptions::Bandit(BanditOptions { preset: self.preset()?, size, reference, seed }).open(),
                Some(rewards) => {
                    ensure!(!rewards.is_empty(), "task.rewards is empty, but must hold a reward for each answer");
                    let uniform = -<f64 as Real>::ln(rewards.len() as f64);
                    Bandit::new(rewards, &vec![uniform; rewards.len()]).map(Lab::Bandit)
                }
            },
            LabKind::Landscape => self.landscape(LandscapeOptions { preset: self.preset()?, side, seed }),
            LabKind::Hypergrid => LabOptions::Hypergrid(HypergridOptions { side, dim, reward }).open(),
            LabKind::Bits => LabOptions::Bits(BitsOptions { bits, word, modes, seed }).open(),
            LabKind::Tree => LabOptions::Tree(StringsOptions { length, symbols, modes, seed }).open(),
            _ => bail!("task {kind} cannot be configured"),
        }
        .with_context(|| match kind {
            LabKind::Landscape => format!("task landscape of side {side}"),
            kind => format!("task {kind}"),
        })
    }

    /// Parses `task.preset` as one of the presets of this task.
    fn preset<P: FromStr<Err = objective::Error>>(&self) -> Result<P> {
        self.preset.parse().map_err(|error| anyhow!("task.preset is `{}`: {error}", self.preset))
    }

    /// Opens a landscape with the given rewards and reference weights. Without rewards, this uses the preset's; without
    /// weights, the reference is uniform if rewards are given, else the preset's.
    fn landscape(&self, options: LandscapeOptions) -> Result<Lab, Error> {
        let weighted = |rewards: &[f64], weights: &[f64]| Landscape::weighted(options.side, rewards, weights);
        match (self.rewards.as_deref(), self.reference_weights.as_deref()) {
            (None, None) => return LabOptions::Landscape(options).open(),
            (None, Some(weights)) => weighted(Landscape::preset(options)?.rewards(), weights),
            (Some(rewards), Some(weights)) => weighted(rewards, weights),
            (Some(rewards), None) => weighted(rewards, &vec![1.0; rewards.len()]),
        }
        .map(Lab::Landscape)
    }
}
