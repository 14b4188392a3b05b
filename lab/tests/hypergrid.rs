//! Compares the hypergrid with known constants and with integer arithmetic.

use std::cmp::Ordering;

use flowrl_lab::{Environment, Hypergrid, HypergridOptions, HypergridReward, Target, reference};

const FAMILIES: [HypergridReward; 3] = [HypergridReward::Easy, HypergridReward::Hard, HypergridReward::TorchGfn];

/// R0, R1 and R2 of each family, in units of 10⁻⁴.
const LEVELS: [[u128; 3]; 3] = [[10, 5_000, 20_000], [1, 10_000, 30_000], [1_000, 5_000, 20_000]];

fn target(side: usize, dim: usize, reward: HypergridReward) -> Target {
    Target::plain(&Hypergrid::new(side, dim, reward).expect("valid"), 1.0).expect("finite")
}

/// Known values of log Z and the number of modes.
#[test]
fn golden_constants() {
    use HypergridReward::{Easy, Hard, TorchGfn};
    for (reward, dim, side, log_z, modes) in [
        (Easy, 2, 8, 2.776_581, 4),
        (Easy, 2, 16, 3.695_259, 4),
        (Easy, 2, 20, 4.411_585, 16),
        (Easy, 4, 8, 5.100_452, 16),
        (Easy, 4, 16, 7.671_145, 16),
        (Easy, 4, 20, 8.643_297, 256),
        (Hard, 2, 8, 3.332_433, 4),
        (Hard, 4, 20, 9.285_819, 256),
        (TorchGfn, 2, 8, 3.109_061, 4),
        (TorchGfn, 4, 8, 6.344_934, 16),
        (TorchGfn, 4, 16, 9.063_417, 16),
    ] {
        let target = target(side, dim, reward);
        assert!((target.log_z - log_z).abs() < 1e-6, "{reward:?} {dim}D{side}: log Z is {}", target.log_z);
        assert_eq!(target.modes.len(), modes, "{reward:?} {dim}D{side}");
    }
}

/// Compares |k/(H−1) − ½| with a/b, as fractions.
fn distance_from_middle(k: usize, side: usize, a: u128, b: u128) -> Ordering {
    let (numerator, denominator) = ((2 * k).abs_diff(side - 1) as u128, 2 * (side - 1) as u128);
    (numerator * b).cmp(&(a * denominator))
}

/// Counts the outer and the band points of one dimension.
fn counts(side: usize) -> (u128, u128) {
    let above = |k: &usize, a, b| distance_from_middle(*k, side, a, b) == Ordering::Greater;
    let below = |k: &usize, a, b| distance_from_middle(*k, side, a, b) == Ordering::Less;
    let outer = (0..side).filter(|k| above(k, 1, 4)).count();
    let band = (0..side).filter(|k| above(k, 3, 10) && below(k, 4, 10)).count();
    (outer as u128, band as u128)
}

/// Z = R0·Hᴰ + R1·oᴰ + R2·bᴰ, with integer factors.
#[test]
fn log_z_and_modes_agree_with_integers_for_any_side() {
    for (reward, [r0, r1, r2]) in FAMILIES.into_iter().zip(LEVELS) {
        for side in 2..=36 {
            for dim in 1..=if matches!(side, 6 | 11 | 16 | 21) { 4 } else { 2 } {
                let (outer, band) = counts(side);
                let z = r0 * (side as u128).pow(dim) + r1 * outer.pow(dim) + r2 * band.pow(dim);
                let target = target(side, dim as usize, reward);
                let log_z = (z as f64 / 1e4).ln();
                assert!((target.log_z - log_z).abs() < 1e-11, "{reward:?} {dim}D{side}: {} {log_z}", target.log_z);
                assert_eq!(target.modes.len() as u128, band.pow(dim), "{reward:?} {dim}D{side}");
            }
        }
    }
}

#[test]
fn floating_point_bands_differ_where_an_edge_is_a_grid_point() {
    let in_double = |k: &usize, side: usize| {
        let distance = (*k as f64 / (side - 1) as f64 - 0.5).abs();
        distance > 0.3 && distance < 0.4
    };
    let in_single = |k: &usize, side: usize| {
        let distance = (*k as f32 / (side - 1) as f32 - 0.5).abs();
        distance > 0.3 && distance < 0.4
    };
    for (side, single, double, exact) in [(6, 0, 1, 0), (11, 1, 1, 0), (16, 2, 3, 2), (21, 3, 3, 2)] {
        assert_eq!((0..side).filter(|k| in_single(k, side)).count(), single, "H = {side} in f32");
        assert_eq!((0..side).filter(|k| in_double(k, side)).count(), double, "H = {side} in f64");
        let ours = Hypergrid::new(side, 1, HypergridReward::Easy).expect("valid");
        assert_eq!((0..side).filter(|&x| ours.is_mode(x)).count(), exact, "H = {side}");
    }
    for side in [8, 20, 32] {
        let ours = Hypergrid::new(side, 1, HypergridReward::Easy).expect("valid");
        assert!((0..side).all(|k| ours.is_mode(k) == in_double(&k, side)), "no edge is a grid point for H = {side}");
    }
}

/// By symmetry the expected length is half of the longest path, plus the stop. The shares of the modes were computed
/// with the bands as exact fractions.
#[test]
fn lengths_and_mode_mass_under_the_target() {
    for (dim, side, mode_mass) in [(2, 8, 0.6228), (4, 8, 0.2439), (4, 16, 0.0187), (4, 20, 0.1129)] {
        let target = target(side, dim, HypergridReward::Easy);
        let measures = target.measure(&target.log_probs).expect("finite");
        let length = (dim * (side - 1)) as f64 / 2.0 + 1.0;
        assert!((measures.expected_length - length).abs() < 1e-9, "{dim}D{side}: {}", measures.expected_length);
        assert!((measures.mode_mass - mode_mass).abs() < 5e-5, "{dim}D{side}: {}", measures.mode_mass);
    }
}

#[test]
fn numbers_and_coordinates_agree() {
    let grid = Hypergrid::new(5, 3, HypergridReward::Easy).expect("valid");
    for state in 0..grid.states() {
        let coordinates: Vec<usize> = grid.coordinates(state).collect();
        assert_eq!(coordinates.iter().fold(0, |n, k| n * 5 + k), state);
        assert_eq!(grid.index(&coordinates), Some(state));
    }
    assert_eq!((grid.index(&[0, 0]), grid.index(&[0, 0, 5])), (None, None));
}

/// Checks L1 of the policy that takes every legal action with equal probability. This is close to the distance of an
/// untrained network.
#[test]
fn the_uniform_policy_is_as_far_off_as_elsewhere() {
    for (dim, side, l1) in [(2, 8, 1.64), (4, 20, 1.87)] {
        let grid = Hypergrid::new(side, dim, HypergridReward::Easy).expect("valid");
        let mut log_probs = vec![0.0; grid.objects()];
        reference(&grid, &mut log_probs).expect("finite");
        let measures = target(side, dim, HypergridReward::Easy).measure(&log_probs).expect("finite");
        assert!((measures.l1 - l1).abs() < 0.01, "{dim}D{side}: {}", measures.l1);
    }
}

#[test]
fn bad_options_are_refused_by_name() {
    let grid = |side, dim, r0, r1, r2| Hypergrid::new(side, dim, HypergridReward::Custom { r0, r1, r2 });
    for (refused, name) in [
        (grid(1, 2, 1.0, 0.0, 0.0), "`side` is 1"),
        (grid(2, 0, 1.0, 0.0, 0.0), "`dim` is 0"),
        (grid(2, 25, 1.0, 0.0, 0.0), "3.3554e7 states, but at most 16777216"),
        (grid(usize::MAX, usize::MAX, 1.0, 0.0, 0.0), "inf states"),
        (grid(2, 1, 0.0, 0.0, 0.0), "`reward.r0` is 0"),
        (grid(2, 1, f64::NAN, 0.0, 0.0), "`reward.r0` is NaN"),
        (grid(2, 1, 1.0, -1.0, 0.0), "`reward.r1` is -1"),
        (grid(2, 1, 1.0, 0.0, f64::INFINITY), "`reward.r2` is inf"),
        (grid(2, 1, 1e308, 1e308, 0.0), "`reward.r1` is 1000"),
    ] {
        let message = refused.expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
    assert!(grid(2, 24, 1.0, 0.0, 0.0).is_ok(), "2^24 states are the bound");
}

#[test]
fn options_read_and_write() {
    let read = |text| serde_json::from_str::<HypergridOptions>(text);
    let custom = HypergridReward::Custom { r0: 1.0, r1: 2.0, r2: 3.0 };
    for (text, reward) in [
        (r#"{"side":8,"dim":2,"reward":"torchgfn"}"#, HypergridReward::TorchGfn),
        (r#"{"side":8,"dim":2,"reward":{"r0":1.0,"r1":2.0,"r2":3.0}}"#, custom),
    ] {
        let options = read(text).expect(text);
        assert_eq!(options, HypergridOptions { reward, ..HypergridOptions::default() });
        assert_eq!(serde_json::to_string(&options).expect("plain data"), text);
    }
    for text in [r#"{"sides":8}"#, r#"{"reward":{"r0":1.0,"r1":2.0,"r2":3.0,"r3":4.0}}"#] {
        assert!(read(text).is_err(), "{text}");
    }
    let error = read(r#"{"reward":"medium"}"#).expect_err("no such family").to_string();
    assert!(error.contains("\"torchgfn\" or { r0"), "{error}");
}
