//! The measured methods: objectives, each with a grid of values for its β or KL weight.

use anyhow::Result;

use crate::args::ConfigArgs;
use crate::config::Config;

/// Number of steps of a run.
pub const STEPS: u64 = 200;
/// Steps at which a run is measured. Before the last one, the learning rate has not decayed to 0 yet.
pub const SHOWN: [u64; 4] = [25, 50, 100, STEPS];
/// Number of steps of the longer run, which is measured only before the first step and after the last.
pub const LONG: u64 = 400;
/// Seeds used to choose a value.
pub const CHOOSING: [u64; 2] = [0, 1];
/// Seeds used to report the defaults and the chosen values.
pub const REPORTED: [u64; 5] = [2, 3, 4, 5, 6];

/// The option that moves a method along its curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Knob {
    /// The inverse temperature β.
    Beta,
    /// The weight of the KL, in the place that is the objective's default.
    Kl,
    /// The weight of the KL in the reward.
    KlInReward,
    /// The power of the reference.
    Power,
    /// No knob: the method has only its default.
    Fixed,
}

/// An objective with the values of its knob.
#[derive(Debug, PartialEq)]
pub struct Method {
    /// Name in the tables and in the picture.
    pub name: &'static str,
    objective: &'static str,
    settings: &'static [&'static str],
    /// The option that varies.
    pub knob: Knob,
    /// Values of the knob in ascending order.
    pub values: &'static [f64],
    /// The objective's default for the knob, which is one of `values`.
    pub default: f64,
}

const fn method(
    name: &'static str,
    objective: &'static str,
    settings: &'static [&'static str],
    knob: Knob,
    values: &'static [f64],
    default: f64,
) -> Method {
    Method { name, objective, settings, knob, values, default }
}

const fn fixed(name: &'static str) -> Method {
    method(name, name, &[], Knob::Fixed, &[0.0], 0.0)
}

/// Every method, in the order of the tables and of the picture.
pub const METHODS: &[Method] = &[
    method("exact-tb", "exact-tb", &[], Knob::Beta, &[1.0, 2.0, 4.0, 8.0, 16.0], 1.0),
    method("tba", "tba", &[], Knob::Beta, &[1.0, 2.0, 4.0, 8.0, 16.0], 1.0),
    method("paper, centred", "paper", &["reward=center"], Knob::Beta, &[0.25, 0.5, 1.0, 2.0, 15.0], 15.0),
    method("paper", "paper", &[], Knob::Beta, &[0.25, 0.5, 1.0, 4.0, 15.0], 15.0),
    method("grpo", "grpo", &[], Knob::Kl, &[0.0, 0.04, 0.1, 0.2, 0.5], 0.04),
    method("reinforce", "reinforce", &[], Knob::KlInReward, &[0.0, 0.0625, 0.125, 0.25, 0.5], 0.0),
    method("rloo", "rloo", &[], Knob::Kl, &[0.0, 0.05, 0.125, 0.25, 0.5], 0.05),
    method("maxrl", "maxrl", &[], Knob::Kl, &[0.0, 0.04, 0.1, 0.2, 0.5], 0.0),
    method("powerflow, no reward", "powerflow", &["beta=0"], Knob::Power, &[1.25, 1.5, 2.0, 4.0, 8.0], 4.0),
    fixed("vargrad"),
    fixed("reinforce++"),
    fixed("ppo"),
];

/// The standard: the success of every method is compared with that of this method's default.
pub const STANDARD: &str = "grpo";

impl Method {
    /// Returns the method of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// Returns the name in Markdown: the preset as code, then the changes to it.
    pub fn shown(&self) -> String {
        self.name.replacen(self.objective, &format!("`{}`", self.objective), 1)
    }

    /// Formats a value for readers, for example `β = 8`. The result is empty for a method without a knob.
    pub fn label(&self, value: f64) -> String {
        match self.knob {
            Knob::Beta => format!("β = {value}"),
            Knob::Power => format!("α = {value}"),
            Knob::KlInReward if value != 0.0 => format!("kl = {value} in the reward"),
            Knob::Kl | Knob::KlInReward => format!("kl = {value}"),
            Knob::Fixed => String::new(),
        }
    }

    /// Returns the settings of `train` for a value.
    pub fn flags(&self, value: f64) -> Vec<String> {
        let own = match self.knob {
            Knob::Beta => vec![format!("beta={value}")],
            Knob::Power => vec![format!("reference_power={value}")],
            Knob::KlInReward if value != 0.0 => vec![format!("kl={value}"), "kl_in=reward".into()],
            Knob::Kl | Knob::KlInReward => vec![format!("kl={value}")],
            Knob::Fixed => Vec::new(),
        };
        self.settings.iter().map(|setting| (*setting).to_owned()).chain(own).collect()
    }

    /// Returns the configuration of a run.
    pub fn config(&self, value: f64, seed: u64, steps: u64) -> Result<Config> {
        let every = if steps == STEPS { SHOWN[0] } else { 0 };
        let mut settings = self.flags(value);
        settings.extend([format!("eval.every={every}"), "run.save_every=0".into()]);
        let flags = ConfigArgs {
            objective: Some(self.objective.into()),
            settings,
            seed: Some(seed),
            steps: Some(steps),
            threads: Some(1),
            ..ConfigArgs::default()
        };
        flags.load(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_makes_a_run_and_the_default_is_the_objectives_own() {
        for method in METHODS {
            assert_eq!(Method::named(method.name), Some(method), "two have this name");
            assert!(method.values.is_sorted_by(|a, b| a < b) && method.values.contains(&method.default), "{method:?}");
            for &value in method.values {
                crate::commands::train::check(&mut method.config(value, 0, STEPS).unwrap()).unwrap();
            }
            let flags = ConfigArgs {
                objective: Some(method.objective.into()),
                settings: method.settings.iter().map(|setting| (*setting).to_owned()).collect(),
                ..ConfigArgs::default()
            };
            let own = flags.load(None).unwrap().objective().unwrap();
            assert_eq!(method.config(method.default, 0, STEPS).unwrap().objective().unwrap(), own, "{method:?}");
        }
        assert!(Method::named(STANDARD).is_some());
    }
}
