//! A lane of the browser lab that is exported as a configuration gives the same run on the command line, bit for bit.

use std::path::Path;

use flowrl_cli::commands::train::{Start, train};
use flowrl_cli::config::Config;
use flowrl_cli::run::Output;
use flowrl_lab::{
    Environment, Hypergrid, HypergridReward, Landscape, LandscapeOptions, LandscapePreset, MlpOptions, Strings,
    StringsOptions, reference,
};
use flowrl_wasm::{LaneKind, LaneOptions, MEASURES, MOST_LANES, Race, RaceOptions, config, shared};
use serde_json::Value;

const STEPS: u32 = 12;

/// Compares the losses of every lane, step by step, between browser and command line, and the exact distances, for
/// which the target is computed again.
fn compare(environment: impl Environment + Clone + 'static, section: &str, kinds: &[LaneKind], options: &RaceOptions) {
    let directory = tempfile::tempdir().expect("a folder");
    for (race, kinds) in kinds.chunks(MOST_LANES).enumerate() {
        let lane = |&kind| LaneOptions { kind, exploration: 0.05, replay: 0.0 };
        let options = RaceOptions {
            seed: 5,
            samples: 24,
            record_every: 1,
            lanes: kinds.iter().map(lane).collect(),
            ..options.clone()
        };
        let mut lanes = Race::new(shared(environment.clone()), options.clone()).expect("valid");
        lanes.run(STEPS).expect("finite");
        for (lane, kind) in kinds.iter().enumerate() {
            let file = directory.path().join("lane.toml");
            std::fs::write(&file, config::of(&options, lane, STEPS, section).expect("a lane")).expect("a file");
            let config = Config::load(Some(&file), &[]).expect("a configuration");
            let out = directory.path().join(format!("{race}-{lane}"));
            train(config, &out, Start::New, Output::Nothing).expect("a run");
            let there = records(&out);
            assert_eq!(there.len(), 1 + STEPS as usize);
            for (step, row) in lanes.records().chunks(lanes.row()).enumerate() {
                let here = |name: &str| {
                    let column = MEASURES.iter().position(|measure| *measure == name).expect("a measure");
                    row[1 + lane * MEASURES.len() + column]
                };
                let there = |name: &str| there[step][name].as_f64().expect("a number");
                assert_eq!(row[0], there("step"));
                if step > 0 {
                    let (a, b) = (here("loss"), there("loss"));
                    assert_eq!(a.to_bits(), b.to_bits(), "{section}: {}, step {step}: {a} and {b}", kind.name());
                }
                assert!((here("tv") - there("tv")).abs() < 1e-12, "{section}: {}, step {step}", kind.name());
            }
        }
    }
}

fn records(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).expect("metrics");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn every_lane_on_a_landscape() {
    for preset in [LandscapePreset::FourPeaks, LandscapePreset::BlindSpot] {
        let landscape = Landscape::preset(LandscapeOptions { preset, side: 8, seed: 0 }).expect("valid");
        let mut weights = vec![0.0; 64];
        reference(&landscape, &mut weights).expect("a tree");
        weights.iter_mut().for_each(|w| *w = flowrl_core::Real::exp(*w));
        let rewards = landscape.rewards();
        let section = format!("kind = \"landscape\"\nside = 8\nrewards = {rewards:?}\nreference_weights = {weights:?}");
        compare(landscape.clone(), &section, LaneKind::ALL, &RaceOptions::default());
        let network = Some(MlpOptions { width: 16, layers: 2 });
        let some = [LaneKind::FlowRl, LaneKind::Ppo];
        compare(landscape, &section, &some, &RaceOptions { network, ..RaceOptions::default() });
    }
}

#[test]
fn every_lane_on_a_tree() {
    let options = StringsOptions { length: 4, symbols: 3, modes: 3, seed: 2 };
    let strings = Strings::new(options).expect("valid");
    let section = "kind = \"tree\"\nlength = 4\nsymbols = 3\nmodes = 3\nseed = 2";
    compare(strings, section, LaneKind::ALL, &RaceOptions::default());
}

#[test]
fn lanes_without_a_reference_on_a_hypergrid() {
    let grid = Hypergrid::new(6, 2, HypergridReward::Easy).expect("valid");
    let section = "kind = \"hypergrid\"\ndim = 2\nside = 6\nreward = \"easy\"";
    let kinds = [LaneKind::FlowRl, LaneKind::VarGrad, LaneKind::Ppo, LaneKind::Reinforce];
    compare(grid, section, &kinds, &RaceOptions { beta: 1.0, ..RaceOptions::default() });
}
