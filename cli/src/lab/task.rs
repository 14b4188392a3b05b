//! Opens the task of the lab that a configuration describes.

use std::str::FromStr;

use anyhow::{Context, Result, anyhow, bail, ensure};
use flowrl_core::{Real, objective};
use flowrl_lab::{
    Bandit, BanditOptions, BitsOptions, Error, HypergridOptions, Lab, LabKind, LabOptions, Landscape, LandscapeOptions,
    StringsOptions,
};

use crate::config::{TaskKind, TaskSection};

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
