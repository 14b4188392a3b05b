//! Parts of a task that an epoch visits at different rates.

use flowrl_core::objective::Preset;
use flowrl_core::train::{Part, Progress, TrainOptions};
use proptest::prelude::*;

use super::tabular::{Cpu, Tabular};
use super::{flowrl, options, trainer};

/// Returns the prompts of `batches` batches of 5 out of the prompts of these parts.
fn drawn(parts: &[Part], batches: u64, seed: u64) -> Vec<usize> {
    let policy = Tabular::new(Cpu::reference(), 1);
    let options = TrainOptions { seed, ..options(5, 2, 0.1, 10) };
    let mut trainer = trainer(&policy, flowrl(Preset::Paper, |_| ()), options);
    trainer.set_parts(parts.to_vec());
    let count = parts.iter().map(|part| part.prompts).sum();
    let batch = |step| {
        trainer.set_progress(Progress { step, ..Progress::default() });
        trainer.next_prompts(count)
    };
    (0..batches).flat_map(batch).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// Every epoch has its visits to each part, and after any number of epochs, two prompts of a part were visited
    /// equally often, up to once.
    #[test]
    fn epochs_visit_each_part_at_its_rate(
        sizes in prop::collection::vec((1..8_usize, 1..20_usize), 1..4),
        epochs in 1..6_usize,
        seed in any::<u64>(),
    ) {
        let parts: Vec<Part> = sizes.iter().map(|&(prompts, visits)| Part { prompts, visits }).collect();
        let epoch: usize = parts.iter().map(|part| part.visits).sum();
        let all = drawn(&parts, (epochs * epoch).div_ceil(5) as u64, seed);
        for end in (1..=epochs).map(|n| n * epoch) {
            let mut first = 0;
            for part in &parts {
                let visits = |prompt: usize| all[..end].iter().filter(|&&drawn| drawn == prompt).count();
                let counts: Vec<usize> = (first..first + part.prompts).map(visits).collect();
                prop_assert_eq!(counts.iter().sum::<usize>(), end / epoch * part.visits);
                prop_assert!(counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1, "{:?}", counts);
                first += part.prompts;
            }
        }
    }
}

#[test]
fn an_epoch_mixes_its_parts() {
    let parts = [Part { prompts: 20, visits: 20 }, Part { prompts: 20, visits: 20 }];
    let all = drawn(&parts, 8, 3);
    let halves: Vec<bool> = all.iter().map(|&prompt| prompt < 20).collect();
    assert!(halves.windows(2).filter(|pair| pair[0] != pair[1]).count() > 8, "{all:?}");
}
