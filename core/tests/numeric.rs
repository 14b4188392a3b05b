//! Numbers for tests: finite differences, pseudo-random numbers and comparisons. The tests of `lab` use this file too.

/// Returns ∇f by a five-point stencil.
pub(crate) fn finite_difference(theta: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let h = 1e-3;
    let at = |i: usize, shift: f64| {
        let mut moved = theta.to_vec();
        moved[i] += shift;
        f(&moved)
    };
    let derivative = |i| (8.0 * (at(i, h) - at(i, -h)) - (at(i, 2.0 * h) - at(i, -2.0 * h))) / (12.0 * h);
    (0..theta.len()).map(derivative).collect()
}

/// Returns reproducible pseudo-random numbers in [−1, 1).
pub(crate) fn numbers(seed: u64, count: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(1);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

#[track_caller]
pub(crate) fn assert_close(got: &[f64], wanted: &[f64], tolerance: f64) {
    assert_eq!(got.len(), wanted.len());
    for (i, (got, wanted)) in got.iter().zip(wanted).enumerate() {
        let error = (got - wanted).abs();
        assert!(error <= tolerance * wanted.abs().max(1.0), "[{i}]: got {got}, wanted {wanted}, off by {error:.3e}");
    }
}
