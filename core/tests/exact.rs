//! Exact targets and distances.

use std::f64::consts::LN_2;

use flowrl_core::exact::{self, BinaryExact, Error};
use proptest::prelude::*;

fn logs(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| p.ln()).collect()
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-11 * b.abs().max(1.0)
}

/// Draws a distribution over 1 to 9 elements, with rewards and lengths.
fn set() -> impl Strategy<Value = (Vec<f64>, Vec<f64>, Vec<usize>)> {
    prop::collection::vec((0.01..1.0_f64, -2.0..2.0_f64, 1..30_usize), 1..10).prop_map(|rows| {
        let total: f64 = rows.iter().map(|r| r.0).sum();
        let log_probs = rows.iter().map(|r| (r.0 / total).ln()).collect();
        (log_probs, rows.iter().map(|r| r.1).collect(), rows.iter().map(|r| r.2).collect())
    })
}

proptest! {
    #[test]
    fn the_plain_target_is_normalised_and_tilts_by_beta((reference, rewards, _) in set(), beta in -20.0..20.0_f64) {
        let mut target = vec![0.0; reference.len()];
        let log_z = exact::target(&reference, &rewards, beta, &mut target).expect("valid");
        prop_assert!(close(target.iter().map(|l| l.exp()).sum(), 1.0));
        for y in 0..target.len() {
            prop_assert!(close(target[y] - reference[y] - beta * rewards[y], -log_z));
        }
    }

    #[test]
    fn the_length_normalised_target_is_normalised_and_tilts_by_length((reference, rewards, lengths) in set(), beta in -20.0..20.0_f64) {
        let mut target = vec![0.0; reference.len()];
        let c = exact::length_normalised_target(&reference, &rewards, &lengths, beta, &mut target).expect("valid");
        prop_assert!(close(target.iter().map(|l| l.exp()).sum(), 1.0));
        for y in 0..target.len() {
            prop_assert!(close((target[y] - reference[y]) / lengths[y] as f64 - beta * rewards[y], -c));
        }
    }

    #[test]
    fn distances_keep_their_bounds((p, ..) in set(), shift in -3.0..3.0_f64) {
        let tilt: Vec<f64> = (0..p.len()).map(|i| if i % 2 == 0 { shift } else { 0.0 }).collect();
        let mut q = vec![0.0; p.len()];
        exact::target(&p, &tilt, 1.0, &mut q).expect("valid");
        let (kl, reverse) = (exact::kl(&p, &q).expect("valid"), exact::kl(&q, &p).expect("valid"));
        let (tv, jsd) = (exact::total_variation(&p, &q).expect("valid"), exact::jensen_shannon(&p, &q).expect("valid"));
        prop_assert!(kl >= -1e-12 && reverse >= -1e-12);
        prop_assert!((0.0..=1.0).contains(&tv) && (-1e-12..=LN_2).contains(&jsd));
        prop_assert!(2.0 * tv * tv <= kl + 1e-12, "Pinsker");
        prop_assert!(close(exact::l1(&p, &q).expect("valid"), 2.0 * tv));
        prop_assert!(close(jsd, exact::jensen_shannon(&q, &p).expect("valid")));
        prop_assert!(exact::entropy(&p).expect("valid") <= (p.len() as f64).ln() + 1e-12);
    }

    #[test]
    fn binary_rewards_agree_with_enumeration((reference, ..) in set(), correct in 1..9_usize, beta in -5.0..20.0_f64) {
        let correct = correct.min(reference.len());
        let rewards: Vec<f64> = (0..reference.len()).map(|y| if y < correct { 1.0 } else { 0.0 }).collect();
        let mut target = vec![0.0; reference.len()];
        let log_z = exact::target(&reference, &rewards, beta, &mut target).expect("valid");
        let binary = BinaryExact::new(&reference[..correct], &target[..correct], beta).expect("valid");
        prop_assert!((binary.log_z - log_z).abs() < 1e-9, "{} {}", binary.log_z, log_z);
        prop_assert!((binary.target_success - binary.success).abs() < 1e-9, "the policy is the target");
        prop_assert!(binary.kl_on_correct.abs() < 1e-9, "and has lost no diversity");
    }
}

#[test]
fn known_distances() {
    let (p, q) = (logs(&[0.5, 0.5, 0.0]), logs(&[0.25, 0.25, 0.5]));
    assert!(close(exact::kl(&p, &q).expect("valid"), LN_2));
    assert_eq!(exact::kl(&q, &p), Ok(f64::INFINITY));
    assert!(close(exact::total_variation(&p, &q).expect("valid"), 0.5));
    assert!(close(exact::entropy(&p).expect("valid"), LN_2));
    let (a, b) = (logs(&[1.0, 0.0]), logs(&[0.0, 1.0]));
    assert!(close(exact::jensen_shannon(&a, &b).expect("valid"), LN_2));
    assert_eq!(exact::modes_covered(&p, &q, &[0, 1, 2], 0.5), Ok(2));
    assert_eq!(exact::log_sum_exp::<f32>(&[]), f32::NEG_INFINITY);
    assert_eq!(exact::log_sum_exp(&[-1e5, -1e5]), -1e5 + LN_2);
}

#[test]
fn binary_rewards_stay_finite_when_success_is_far_below_the_smallest_number() {
    let exact = BinaryExact::new(&[-2000.0, -2000.0], &[-1.0, -3000.0], 15.0).expect("valid");
    assert_eq!((exact.ref_success, exact.log_z), (0.0, 0.0));
    assert!(close(exact.success, (-1.0_f64).exp()));
    assert!(exact.kl_on_correct.is_finite() && exact.kl_on_correct > 1000.0);
    assert!(close(exact.effective_answers, 1.0));
    // With a success probability of 1e-6 and β = 15, Z = 1 + (e¹⁵ − 1)·1e-6.
    let exact = BinaryExact::new(&[1e-6_f64.ln()], &[0.0], 15.0).expect("valid");
    let z = 1.0 + 15.0_f64.exp_m1() * 1e-6;
    assert!(close(exact.log_z, z.ln()));
    assert!(close(exact.target_success, 15.0_f64.exp() * 1e-6 / z));
    // Success is certain.
    let exact = BinaryExact::new(&[0.0], &[0.0], 15.0).expect("valid");
    assert!(close(exact.log_z, 15.0) && close(exact.target_success, 1.0));
}

#[test]
fn bad_input_is_refused() {
    let mut out = [0.0; 2];
    let two = [-LN_2; 2];
    assert!(matches!(
        exact::target(&two, &[1.0], 1.0, &mut out),
        Err(Error::Length { argument: "rewards", got: 1, wanted: 2 })
    ));
    assert!(matches!(
        exact::target(&two, &[1.0, f64::NAN], 1.0, &mut out),
        Err(Error::NonFinite { argument: "rewards", index: 1, .. })
    ));
    let nothing = [f64::NEG_INFINITY; 2];
    assert_eq!(exact::target(&nothing, &[0.0; 2], 1.0, &mut out), Err(Error::Empty { argument: "ref_log_probs" }));
    assert_eq!(
        exact::length_normalised_target(&nothing, &[0.0; 2], &[1, 1], 1.0, &mut out),
        Err(Error::Empty { argument: "ref_log_probs" })
    );
    assert_eq!(exact::length_normalised_target(&[-0.5; 2], &[0.0; 2], &[0, 0], 1.0, &mut out), Err(Error::NoRoot));
    assert!(exact::kl(&two, &[0.0]).is_err_and(|e| e.to_string().contains("`q` has 1 elements")));
    assert!(exact::entropy(&[f64::NAN]).is_err());
    assert!(exact::modes_covered(&two, &two, &[2], 0.5).is_err());
    assert!(matches!(BinaryExact::new(&nothing, &two, 15.0), Err(Error::Empty { .. })));
}
