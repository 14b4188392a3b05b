//! The presets of the landscape, its peaks and hills, and input that it refuses.

use flowrl_core::exact::log_sum_exp;
use flowrl_lab::{Environment, Landscape, LandscapeOptions, LandscapePreset, Target};

fn preset(preset: LandscapePreset) -> Landscape {
    Landscape::preset(LandscapeOptions { preset, ..LandscapeOptions::default() }).expect("valid")
}

#[test]
fn presets_have_the_peaks_they_promise() {
    let count = |kind| preset(kind).peaks().len();
    assert_eq!(preset(LandscapePreset::FourPeaks).peaks(), [68, 76, 196, 204]);
    assert_eq!(preset(LandscapePreset::BlindSpot).peaks(), [68, 76, 196, 204]);
    for (kind, wanted) in [
        (LandscapePreset::TwoPeaks, 2),
        (LandscapePreset::Needle, 1),
        (LandscapePreset::BroadAndSharp, 2),
        (LandscapePreset::Plateau, 2),
        (LandscapePreset::Deceptive, 2),
    ] {
        assert_eq!(count(kind), wanted, "{kind}");
    }
    assert!(count(LandscapePreset::Ring) >= 4 && count(LandscapePreset::Banana) >= 1);
    assert!((2..=6).contains(&count(LandscapePreset::Random)));
}

#[test]
fn every_preset_is_a_task_of_every_side() {
    for &kind in LandscapePreset::ALL {
        for side in [8, 16, 31] {
            let landscape = Landscape::preset(LandscapeOptions { preset: kind, side, seed: 3 }).expect("valid");
            assert!(landscape.rewards().iter().all(|r| (0.0..=1.0).contains(r)), "{kind}");
            let target = Target::plain(&landscape, 6.0).expect("finite");
            assert!(log_sum_exp(&target.log_probs).abs() < 1e-12, "{kind}");
        }
    }
}

#[test]
fn the_reference_is_what_was_given() {
    let landscape = preset(LandscapePreset::BlindSpot);
    let log_prob = |i: usize| landscape.log_reference(0, i / 16) + landscape.log_reference(1 + i / 16, i % 16);
    let share = f64::exp(log_prob(68) - log_prob(204));
    assert!((share - 1e-4).abs() < 1e-12, "{share}");
    let total: f64 = (0..256).map(|i| f64::exp(log_prob(i))).sum();
    assert!((total - 1.0).abs() < 1e-12);
}

#[test]
fn weights_are_shares() {
    let landscape = Landscape::weighted(2, &[0.0; 4], &[3e300, 1e300, 1e300, 5e300]).expect("valid");
    let share = |i: usize| f64::exp(landscape.log_reference(0, i / 2) + landscape.log_reference(1 + i / 2, i % 2));
    for (i, wanted) in [0.3, 0.1, 0.1, 0.5].into_iter().enumerate() {
        assert!((share(i) - wanted).abs() < 1e-12, "{i}: {}", share(i));
    }
}

#[test]
fn a_flat_landscape_has_no_peak_and_a_flat_top_has_one() {
    let uniform = [-f64::ln(25.0); 25];
    let mut rewards = [0.0; 25];
    let peaks = |rewards: &[f64]| Landscape::new(5, rewards, &uniform).expect("valid").peaks().to_vec();
    assert_eq!(peaks(&rewards), [0; 0]);
    for i in [6, 7, 8, 11, 12, 13, 16, 17, 18] {
        rewards[i] = 1.0;
    }
    assert_eq!(peaks(&rewards), [12]);
    rewards[24] = 0.49;
    assert_eq!(peaks(&rewards), [12], "a foothill does not count");
    rewards[24] = 0.0;
    rewards[4] = 0.5;
    assert_eq!(peaks(&rewards), [12], "a step at the side of the square is no top");
}

#[test]
fn hills_hold_their_peak_and_divide_the_square() {
    let landscape = preset(LandscapePreset::FourPeaks);
    for (place, &peak) in landscape.peaks().iter().enumerate() {
        assert_eq!(landscape.hills()[peak], Some(place));
    }
    for (i, hill) in landscape.hills().iter().enumerate() {
        if let Some(place) = *hill {
            let quarter = |i: usize| (i / 16 / 8, i % 16 / 8);
            assert_eq!(quarter(landscape.peaks()[place]), quarter(i), "{i}");
        }
    }
    let plateau = preset(LandscapePreset::Plateau);
    let hill = |i: usize| plateau.hills()[i].is_some();
    assert!((0..256).all(|i| hill(i) == (plateau.rewards()[i] == 1.0)));
}

#[test]
fn seeds_draw_the_needle_and_the_hills() {
    let draw = |preset, seed| Landscape::preset(LandscapeOptions { preset, side: 16, seed }).expect("valid");
    for (kind, differs) in
        [(LandscapePreset::Needle, true), (LandscapePreset::Random, true), (LandscapePreset::Ring, false)]
    {
        assert_eq!(draw(kind, 1), draw(kind, 1));
        assert_eq!(draw(kind, 1) != draw(kind, 2), differs, "{kind}");
    }
}

#[test]
fn bad_input_is_refused_by_name() {
    let quarter = [-f64::ln(4.0); 4];
    let small = Landscape::preset(LandscapeOptions { side: 7, ..LandscapeOptions::default() });
    let large = Landscape::preset(LandscapeOptions { side: usize::MAX, ..LandscapeOptions::default() });
    for (refused, name) in [
        (Landscape::new(1, &[0.0], &[0.0]), "`side` is 1"),
        (Landscape::new(2, &[0.0; 3], &quarter), "`rewards` has 3 elements, but must have 4"),
        (Landscape::new(2, &[0.0; 4], &[0.0; 5]), "`ref_log_probs` has 5 elements, but must have 4"),
        (Landscape::new(2, &[0.0, 1.0, f64::NAN, 0.0], &quarter), "`rewards[2]` is NaN"),
        (Landscape::new(2, &[0.0; 4], &[0.0; 4]), "`ref_log_probs` sums to a probability of 4"),
        (Landscape::weighted(2, &[0.0; 3], &[1.0; 3]), "`rewards` has 3 elements, but must have 4"),
        (Landscape::weighted(2, &[0.0; 4], &[1.0; 3]), "`reference_weights` has 3 elements, but must have 4"),
        (Landscape::weighted(2, &[0.0; 4], &[1.0, 0.0, 1.0, 1.0]), "`reference_weights[1]` is 0, but must be above 0"),
        (Landscape::weighted(2, &[0.0; 4], &[1.0, 1.0, -2.0, 1.0]), "`reference_weights[2]` is -2"),
        (Landscape::weighted(2, &[0.0; 4], &[1.0, 1.0, 1.0, f64::NAN]), "`reference_weights[3]` is NaN"),
        (Landscape::weighted(2, &[0.0; 4], &[f64::INFINITY; 4]), "`reference_weights[0]` is inf"),
        (small, "`side` is 7"),
        (large, "e38 objects"),
    ] {
        let message = refused.expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
}
