//! The exact lab: targets, and seeded training on the plain reference path of the CPU.

use std::error::Error;

use flowrl_core::lab::{
    Bandit, BanditOptions, BanditPreset, BanditReference, Bits, BitsOptions, Environment, Hypergrid, HypergridReward,
    Strings, StringsOptions, Target, reference,
};

use crate::digest::digest;

pub(crate) fn report(lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let bandit = BanditOptions {
        preset: BanditPreset::Ring,
        reference: BanditReference::Random,
        seed: 4,
        ..BanditOptions::default()
    };
    targets("bandit", &Bandit::preset(bandit)?, lines)?;
    targets("hypergrid", &Hypergrid::new(6, 3, HypergridReward::Hard)?, lines)?;
    targets("bits", &Bits::from_options(BitsOptions::default())?, lines)?;
    targets("tree", &Strings::new(StringsOptions::default())?, lines)
}

/// Both targets, and the distance of the reference from the plain one.
fn targets(name: &str, environment: &impl Environment, lines: &mut Vec<String>) -> Result<(), Box<dyn Error>> {
    let (plain, by_length) = (Target::plain(environment, 2.0)?, Target::length_normalised(environment, 2.0)?);
    let mut start = vec![0.0; environment.objects()];
    reference(environment, &mut start)?;
    let measures = plain.measure(&start)?.named().map(|(_, value)| value);
    let log_z = digest(&[plain.log_z, by_length.log_z]);
    let [plain, by_length] = [plain, by_length].map(|target| digest(&target.log_probs));
    lines.push(format!("{name} {log_z} {plain} {by_length} {}", digest(&measures)));
    Ok(())
}
