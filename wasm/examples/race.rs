//! The race that the page opens with, on this machine: `cargo run --release -p flowrl-wasm --example race [STEPS]`
//!
//! Six policies on 256 answers; prints where they end, and rounds a second (a round is one update of each of the six).

use std::time::Instant;

use flowrl_lab::{Landscape, LandscapeOptions};
use flowrl_wasm::{LaneKind, LaneOptions, Race, RaceOptions, shared};

const KINDS: [LaneKind; 6] =
    [LaneKind::FlowRl, LaneKind::Grpo, LaneKind::Ppo, LaneKind::Reinforce, LaneKind::RewardKl, LaneKind::Normalised];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let steps = std::env::args().nth(1).map_or(Ok(2000), |word| word.parse())?;
    let lanes = KINDS.map(|kind| LaneOptions { kind, exploration: 0.0, replay: 0.0 }).into();
    let landscape = shared(Landscape::preset(LandscapeOptions::default())?);
    let mut race = Race::new(landscape, RaceOptions { lanes, ..RaceOptions::default() })?;
    race.run(200)?;
    let start = Instant::now();
    race.run(steps)?;
    let rate = f64::from(steps) / start.elapsed().as_secs_f64();

    for (lane, kind) in KINDS.iter().enumerate() {
        let [kl, found, modes] =
            [race.measure(lane, "kl")?, race.measure(lane, "modes_found")?, race.measure(lane, "modes")?];
        eprintln!("{:<10}  KL {kl:.4}  {found} of {modes} peaks", kind.name());
    }
    println!("{rate:.1}");
    Ok(())
}
