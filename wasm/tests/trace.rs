//! Tests that a race gives the same numbers on this machine and in WebAssembly, to the last bit. Both are compared with
//! one file; `wasm/www/tests/unit/trace.spec.ts` does this for the module that the page loads.
//!
//! `FLOWRL_WRITE_TRACE=1 cargo test -p flowrl-wasm trace` rewrites the file, after a change that is meant to change the
//! numbers.

use flowrl_lab::{Landscape, LandscapeOptions, LandscapePreset, Strings, StringsOptions};
use flowrl_wasm::{LaneKind, LaneOptions, Race, RaceOptions, shared};

const EXPECTED: &str = include_str!("trace.csv");

/// Returns the records of races that cover every kind of lane, changes of β and of the landscape, a fork, exploration,
/// replay and a tree.
fn trace() -> Result<String, Box<dyn std::error::Error>> {
    let plain = |kind| LaneOptions { kind, exploration: 0.0, replay: 0.0 };
    let options = |lanes| RaceOptions { seed: 11, samples: 32, record_every: 50, lanes, ..RaceOptions::default() };
    let landscape = |preset| Landscape::preset(LandscapeOptions { preset, side: 16, seed: 3 });
    let mut out = String::new();
    for kinds in LaneKind::ALL.chunks(4) {
        let lanes = kinds.iter().map(|&kind| plain(kind)).collect();
        let mut race = Race::new(shared(landscape(LandscapePreset::Random)?), options(lanes))?;
        race.run(100)?;
        race.set_beta(12.0)?;
        race.run(100)?;
        race.set_environment(shared(landscape(LandscapePreset::BlindSpot)?))?;
        race.fork(150.0)?;
        race.run(150)?;
        out.push_str(&race.csv());
    }
    let lane = |exploration, replay| LaneOptions { exploration, replay, ..plain(LaneKind::FlowRl) };
    let strings = Strings::new(StringsOptions { seed: 5, ..StringsOptions::default() })?;
    let mut race =
        Race::new(shared(strings), options(vec![lane(0.1, 0.0), lane(0.0, 0.5), plain(LaneKind::Normalised)]))?;
    race.run(200)?;
    out.push_str(&race.csv());
    Ok(out)
}

#[test]
fn a_race_has_the_same_bits_everywhere() {
    let trace = trace().expect("the race runs");
    if std::env::var_os("FLOWRL_WRITE_TRACE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/trace.csv"), &trace).expect("tests/ can be written");
        return;
    }
    for (line, (got, expected)) in trace.lines().zip(EXPECTED.lines()).enumerate() {
        assert_eq!(got, expected, "line {} of trace.csv", line + 1);
    }
    assert_eq!(trace.lines().count(), EXPECTED.lines().count());
}
