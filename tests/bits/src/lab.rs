//! The exact lab: targets, and seeded training on the plain reference path of the CPU.

use std::error::Error;

use flowrl_core::Real;
use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset};
use flowrl_core::train::{TrainOptions, Trainer};
use flowrl_lab::{
    Bandit, BanditOptions, BanditPreset, BanditReference, Bits, BitsOptions, Environment, HeadOptions, Hypergrid,
    HypergridReward, LabPolicy, LabTask, Landscape, LandscapeOptions, LandscapePreset, MlpOptions, Network, Strings,
    StringsOptions, Target, reference,
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
    let landscape = LandscapeOptions { preset: LandscapePreset::Random, side: 9, seed: 4 };
    let landscape = Landscape::preset(landscape)?;
    targets("landscape", &landscape, lines)?;
    targets("hypergrid", &Hypergrid::new(6, 3, HypergridReward::Hard)?, lines)?;
    targets("bits", &Bits::from_options(BitsOptions::default())?, lines)?;
    let strings = Strings::new(StringsOptions::default())?;
    targets("tree", &strings, lines)?;

    let (grid, mlp) = (Hypergrid::new(8, 2, HypergridReward::TorchGfn)?, MlpOptions { width: 32, layers: 2 });
    let balance = Objective::FlowRl(FlowRl::exact_tb().with_log_z(LogZ::Scalar));
    let policy = LabPolicy::mlp(CpuBackend::<f32>::reference(), grid.clone(), mlp, HeadOptions::default(), 5)?;
    training("hypergrid, mlp", policy, grid, balance, lines)?;
    let policy = LabPolicy::table(CpuBackend::<f32>::reference(), landscape.clone(), HeadOptions::default())?;
    training("landscape, table", policy, landscape, balance, lines)?;
    let policy = LabPolicy::table(CpuBackend::<f64>::reference(), strings.clone(), HeadOptions::default())?;
    training("tree, table, network for log Z", policy, strings, Objective::preset(Preset::Paper), lines)
}

/// Trains for thirty steps and reports every metric of every step, and the final policy.
fn training<T: Real, E: Environment, N: Network<T>>(
    name: &str,
    mut policy: LabPolicy<T, E, N>,
    environment: E,
    objective: Objective,
    lines: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let options =
        TrainOptions { prompts: 1, samples: 16, max_tokens: environment.max_length(), ..TrainOptions::default() };
    let mut trainer = Trainer::new(&policy, objective, options)?;
    let task = LabTask::new(environment);
    let mut metrics = Vec::new();
    for _ in 0..30 {
        let (_, of_step) = trainer.step(&mut policy, &task)?;
        metrics.extend(of_step.into_iter().map(|(_, value)| value));
    }
    lines.push(format!("{name} {} {}", digest(&metrics), digest(&policy.log_pf_table()?)));
    Ok(())
}

/// Reports both targets, and the distance of the reference from the plain one.
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
