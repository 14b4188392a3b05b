//! The presets of the bandit, and input that it refuses.

use flowrl_core::exact::log_sum_exp;
use flowrl_lab::{Bandit, BanditOptions, BanditPreset, BanditReference, Environment};

fn preset(preset: BanditPreset, size: usize) -> Bandit {
    Bandit::preset(BanditOptions { preset, size, ..BanditOptions::default() }).expect("valid")
}

fn modes(bandit: &Bandit) -> Vec<usize> {
    (0..bandit.objects()).filter(|&x| bandit.is_mode(x)).collect()
}

/// Returns the answers with a larger reward than both of their neighbours.
fn tops(bandit: &Bandit) -> Vec<usize> {
    let r = bandit.rewards();
    (1..r.len() - 1).filter(|&i| r[i] > r[i - 1] && r[i] > r[i + 1]).collect()
}

#[test]
fn peaks_are_the_modes_and_have_the_rewards_they_promise() {
    for size in [16, 64, 1000] {
        for (kind, rewards) in
            [(BanditPreset::TwoPeaks, &[1.0, 1.0][..]), (BanditPreset::FourPeaks, &[1.0, 0.9, 0.75, 0.5])]
        {
            let bandit = preset(kind, size);
            assert_eq!(tops(&bandit), modes(&bandit), "{kind} of {size}");
            let at_modes: Vec<f64> = modes(&bandit).iter().map(|&i| bandit.reward(i)).collect();
            assert_eq!(at_modes, rewards, "{kind} of {size}");
        }
    }
}

#[test]
fn the_deceptive_hill_is_lower_but_holds_more() {
    let bandit = preset(BanditPreset::Deceptive, 64);
    assert_eq!((tops(&bandit), modes(&bandit)), (vec![19, 57], vec![57]));
    let (hill, peak) = bandit.rewards().split_at(50);
    assert!(peak.iter().copied().fold(0.0, f64::max) > hill.iter().copied().fold(0.0, f64::max));
    assert!(hill.iter().sum::<f64>() > 5.0 * peak.iter().sum::<f64>(), "a random start is drawn to the hill");
}

#[test]
fn the_ring_is_round() {
    let bandit = preset(BanditPreset::Ring, 100);
    let ring = modes(&bandit);
    assert!(ring.len() >= 8);
    for i in 0..100 {
        let (row, column) = (i / 10, i % 10);
        assert!((bandit.reward(i) - bandit.reward(10 * column + 9 - row)).abs() < 1e-12, "a quarter turn");
    }
    assert!(!ring.contains(&44) && !ring.contains(&0), "neither the middle nor a corner");
}

#[test]
fn seeds_draw_the_needle_the_rewards_and_the_reference() {
    let draw = |preset, reference, seed| Bandit::preset(BanditOptions { preset, size: 50, reference, seed });
    for (kind, reference, differs) in [
        (BanditPreset::Needle, BanditReference::Uniform, true),
        (BanditPreset::Random, BanditReference::Uniform, true),
        (BanditPreset::TwoPeaks, BanditReference::Random, true),
        (BanditPreset::TwoPeaks, BanditReference::Uniform, false),
    ] {
        assert_eq!(draw(kind, reference, 1), draw(kind, reference, 1));
        assert_eq!(draw(kind, reference, 1) != draw(kind, reference, 2), differs, "{kind}, {reference}");
    }
    let needle = preset(BanditPreset::Needle, 50);
    assert_eq!((modes(&needle).len(), needle.rewards().iter().sum::<f64>()), (1, 1.0));
}

#[test]
fn bad_input_is_refused_by_name() {
    let half = 0.5_f64.ln();
    let small = Bandit::preset(BanditOptions { size: 7, ..BanditOptions::default() });
    let large = Bandit::preset(BanditOptions { size: usize::MAX, ..BanditOptions::default() });
    for (refused, name) in [
        (Bandit::new(&[], &[]), "`rewards` has 0 elements, but must have 1"),
        (Bandit::new(&[1.0, 0.0], &[0.0]), "`ref_log_probs` has 1 elements, but must have 2"),
        (Bandit::new(&[1.0, f64::NAN], &[half; 2]), "`rewards[1]` is NaN"),
        (Bandit::new(&[1.0, 0.0], &[0.0, f64::NEG_INFINITY]), "`ref_log_probs[1]` is -inf"),
        (Bandit::new(&[1.0, 0.0], &[half, 0.0]), "`ref_log_probs` sums to a probability of 1.5"),
        (Bandit::new(&[1.0, 0.0], &[half; 2]).and_then(|b| b.with_modes(&[2])), "`modes` is 2"),
        (small, "`size` is 7"),
        (large, "e19 objects, but at most 16777216"),
    ] {
        let message = refused.expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
    let rounded = Bandit::new(&[1.0, 0.0], &[half, half - 1e-8]).expect("normalised");
    assert!(log_sum_exp(&[rounded.log_reference(0, 0), rounded.log_reference(0, 1)]).abs() < 1e-15);
}
