//! Runs in the lab: small policies on tasks with a known target, measured exactly.

pub(crate) mod picture;
mod subject;
mod task;
pub(crate) mod truth;

use anyhow::{Result, bail};
use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::Objective;
use flowrl_core::train::Trainer;
use flowrl_lab::{Environment, HeadOptions, Lab, LabPolicy, MlpOptions, Network};

use crate::config::{Arithmetic, Config, PolicyKind};
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
