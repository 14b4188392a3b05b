//! Objectives compared with the CPU: golden files, random batches, extreme lengths, degenerate groups and errors.

use std::path::PathBuf;

use crate::common::batches::{Owned, evaluate};
use crate::common::{Tolerance, normals};
use flowrl_core::backend::{Backend, ObjectiveError};
use flowrl_core::objective::file::BatchFile;
use flowrl_core::objective::{
    Advantage, Aggregate, Balance, FlowRl, Importance, KlEstimator, KlIn, Length, LogZ, Objective, Preset, Ratio,
    Reward, RolloutCorrection, Shape, TokenMask, value_loss,
};
use flowrl_lm::backend::TransformerBackend;
use serde_json::Value;

fn cpu() -> flowrl_core::backend::CpuBackend<f32> {
    flowrl_core::backend::CpuBackend::new(1)
}

/// Asserts that numbers agree to 1e-5 of the largest, and metrics, which are sums of doubles, to a relative 1e-6.
fn agrees<B: Backend<Real = f32>>(device: &B, what: &str, objective: &Objective, owned: &Owned) {
    let (got, diagnostics) = evaluate(device, objective, owned).unwrap_or_else(|error| panic!("{what}: {error}"));
    let (wanted, of_cpu) = evaluate(&cpu(), objective, owned).unwrap();
    for ((name, got), (_, wanted)) in got.iter().zip(&wanted) {
        let wide = |x: &[f32]| x.iter().map(|&x| f64::from(x)).collect::<Vec<_>>();
        crate::common::assert_close(&format!("{what}: {name}"), &wide(got), &wide(wanted), Tolerance::F32);
    }
    let (got, wanted): (Vec<_>, Vec<_>) = (diagnostics.metrics().collect(), of_cpu.metrics().collect());
    assert_eq!(got.len(), wanted.len(), "{what}: {got:?} {wanted:?}");
    for ((name, got), (wanted_name, wanted)) in got.into_iter().zip(wanted) {
        assert_eq!(name, wanted_name);
        assert!((got - wanted).abs() <= 1e-6 * wanted.abs().max(1e-3), "{what}: {name}: got {got}, wanted {wanted}");
    }
}

/// Returns every preset and baseline, and every option of FlowRL and of the baselines at a value other than its
/// default.
fn objectives() -> Vec<(String, Objective)> {
    let mut all: Vec<_> = Preset::ALL.iter().map(|&preset| (preset.to_string(), Objective::preset(preset))).collect();
    let (paper, masked) = (FlowRl::default(), Preset::VerlPr3924.flowrl().unwrap());
    let pairs = paper.with_log_z(LogZ::Pairwise).with_importance(Importance::None);
    let flowrl = [
        paper.with_length(Length::Sum).with_beta(1.0),
        masked.with_length(Length::Fixed(7)),
        masked.with_length(Length::Sum).with_beta(2.0).with_log_z(LogZ::LeaveOneOut),
        paper.with_importance(Importance::Geometric).with_clip_low(None),
        masked.with_importance(Importance::None),
        paper.with_log_z(LogZ::Zero).with_reward(Reward::Center),
        paper.with_log_z(LogZ::LeaveOneOut).with_clip_high(None),
        paper.with_log_z(LogZ::GroupMean).with_clip_low(None).with_clip_high(None).with_reward_ddof(0),
        paper.with_mask_truncated(true).with_log_z(LogZ::LeaveOneOut),
        paper.with_mask_truncated(true).with_log_z(LogZ::GroupMean),
        masked.with_mask_truncated(true),
        paper.with_log_z(LogZ::Given).with_shape(Shape::Huber).with_huber_delta(2.0),
        masked.with_reference_power(0.5),
        paper.with_log_z(LogZ::Frozen),
        paper.with_log_z(LogZ::Table).with_residual_clip_high(Some(0.3)),
        paper.with_log_z(LogZ::LeaveOneOut).with_residual_clip_low(Some(0.1)).with_shape(Shape::Huber),
        masked.with_log_z(LogZ::OldGroupMean).with_mask_truncated(true),
        pairs.with_mask_truncated(true).with_pair_gap(0.4),
        pairs.with_shape(Shape::Huber).with_huber_delta(0.2).with_token_mask(TokenMask::Cispo),
    ];
    all.extend(flowrl.into_iter().map(|options| (format!("{options:?}"), Objective::FlowRl(options))));
    let [grpo, gspo, cispo] =
        [Preset::Grpo, Preset::Gspo, Preset::Cispo].map(|preset| preset.policy_gradient().unwrap());
    let reinforce = Preset::Reinforce.policy_gradient().unwrap();
    let baselines = [
        grpo.with_kl(0.3).with_kl_in(KlIn::Reward),
        reinforce.with_kl(0.2).with_kl_in(KlIn::Reward),
        gspo.with_kl(0.1).with_aggregate(Aggregate::TokenMean),
        cispo.with_kl(0.1).with_clip_low(None).with_aggregate(Aggregate::Fixed(9)),
        grpo.with_clip_low(None).with_clip_high(None).with_kl(0.0),
        grpo.with_entropy(0.3).with_mask_truncated(true),
        gspo.with_entropy(0.3).with_kl(0.1).with_aggregate(Aggregate::TokenMean),
        reinforce.with_entropy(0.3).with_aggregate(Aggregate::Fixed(9)),
    ];
    let of_another_engine = grpo.with_rollout_max(1.02).with_kl(0.0);
    let families = [
        Ratio::ALL.iter().map(|&ratio| grpo.with_ratio(ratio).with_dual_clip(Some(1.25))).collect::<Vec<_>>(),
        KlEstimator::ALL
            .iter()
            .map(|&estimator| gspo.with_kl(0.3).with_kl_estimator(estimator).with_kl_max(Some(0.04)))
            .collect(),
        KlEstimator::ALL.iter().map(|&e| cispo.with_kl(0.3).with_kl_estimator(e).with_kl_unbiased(true)).collect(),
        KlIn::ALL.iter().map(|&place| grpo.with_kl(0.2).with_kl_in(place).with_mask_off_policy(Some(0.01))).collect(),
        RolloutCorrection::ALL.iter().map(|&kind| of_another_engine.with_rollout_correction(kind)).collect(),
        Advantage::ALL.iter().map(|&advantage| grpo.with_advantage(advantage).with_mask_truncated(true)).collect(),
    ];
    all.extend(families.into_iter().flatten().map(|options| (format!("{options:?}"), Objective::from(options))));
    all.extend(baselines.into_iter().map(|options| (format!("{options:?}"), Objective::PolicyGradient(options))));
    all
}

fn random_batches<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(1, &[3, 1, 0, 4, 5, 70, 7, 2, 0, 300, 6, 9], 4);
    owned.advantages[5] = 0.0;
    owned.rollout_log_probs = Some(owned.old_log_probs.iter().flatten().map(|l| l - 0.03 * (l * 37.0).sin()).collect());
    for (name, objective) in objectives() {
        agrees(device, &name, &objective, &owned);
    }
    owned.old_log_probs = None;
    for (name, objective) in objectives() {
        agrees(device, &format!("on policy, {name}"), &objective, &owned);
    }
    owned.ref_log_probs = None;
    for preset in [Preset::Dapo, Preset::StableGfn] {
        agrees(device, "without a reference", &Objective::preset(preset), &owned);
    }
}

fn short_long_few_and_many_sequences<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let chosen = ["paper", "vargrad", "grpo", "gspo", "reinforce++"].map(|name| (name, name.parse().unwrap()));
    let many: Vec<usize> = (0..300).map(|i| i % 5).collect();
    for (lengths, groups) in
        [(&[][..], 1), (&[0], 1), (&[1], 1), (&[8192], 1), (&[8191, 3], 2), (&many, 1), (&many, 100)]
    {
        let owned = Owned::random(2, lengths, groups);
        for (name, objective) in &chosen {
            agrees(device, &format!("{name}, {} sequences in {groups} groups", lengths.len()), objective, &owned);
        }
    }
}

fn degenerate_groups<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(3, &[4; 9], 9);
    // One member alone; equal rewards; equal except for the sign of zero; a mean that rounds to zero.
    owned.groups = vec![4, 2, 2, 2, 7, 7, 1, 1, 1];
    owned.rewards = vec![3.0, 0.1, 0.1, 0.1, 0.0, -0.0, 1e30, 1.0, -1e30];
    for (name, objective) in objectives() {
        let objective = match objective {
            Objective::FlowRl(o) => Objective::from(o.with_reward_eps(0.0)),
            // The mean of the last group is 0 although its members are not.
            Objective::PolicyGradient(o) if o.advantage == Advantage::Mean => continue,
            Objective::PolicyGradient(o) => Objective::from(o.with_reward_eps(0.0)),
            other => other,
        };
        agrees(device, &name, &objective, &owned);
    }
    // The old policy is so far away that weights are bounded or vanish. If a log-ratio is beyond ±20, a policy gradient
    // has no gradient.
    owned.old_log_probs = Some(owned.log_probs.iter().map(|l| l + 3e3).collect());
    for name in ["paper", "vargrad", "official", "grpo", "gspo", "cispo"] {
        agrees(device, name, &name.parse().unwrap(), &owned);
    }
    // One member outweighs the rest of its group by e⁶⁰, so that the others' weights are lost in the sum of all.
    let old = owned.old_log_probs.as_mut().unwrap();
    old.copy_from_slice(&owned.log_probs);
    old[4..8].iter_mut().for_each(|l| *l -= 15.0);
    let options = FlowRl::default().with_log_z(LogZ::LeaveOneOut).with_clip_low(None).with_clip_high(None);
    agrees(device, "leave-one-out", &Objective::FlowRl(options), &owned);
}

fn values_of_ppo<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    for count in [0, 1, 700] {
        let (rewards, values) = (normals(4, count), normals(5, count));
        let (mut got, mut wanted) = (vec![f32::NAN; count], vec![0.0; count]);
        let loss = device.value_loss(&rewards, &values, 900, &mut got).unwrap();
        let loss_of_cpu = value_loss(&rewards, &values, 900, &mut wanted).unwrap();
        assert!((loss - loss_of_cpu).abs() <= 1e-12 * loss_of_cpu, "{loss} {loss_of_cpu}");
        assert_eq!(got, wanted);
    }
    let of = |rewards: &[f32], values: &[f32]| {
        let error = device.value_loss(rewards, values, 2, &mut vec![0.0; rewards.len()]).expect_err("must be refused");
        assert_eq!(
            error.to_string(),
            value_loss(rewards, values, 2, &mut vec![0.0; rewards.len()]).unwrap_err().to_string()
        );
    };
    of(&[1.0, 2.0], &[1.0, f32::NAN]);
    of(&[f32::INFINITY, 2.0], &[f32::INFINITY, 0.0]);
    of(&[1.0, 2.0], &[1.0]);
}

/// Asserts that the device and the CPU return the same error message.
fn refused<B: Backend<Real = f32>>(device: &B, objective: &Objective, owned: &Owned, says: &str) {
    let wanted = evaluate(&cpu(), objective, owned).expect_err("the CPU refuses it").to_string();
    let got = evaluate(device, objective, owned).expect_err("must be refused");
    assert!(matches!(got, ObjectiveError::Input(_)), "{got}");
    assert_eq!(got.to_string(), wanted);
    assert!(wanted.contains(says), "{wanted}");
}

fn errors_of_the_cpu<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let good = Owned::random(6, &[3, 0, 6, 9], 2);
    let all = [
        "paper",
        "vargrad",
        "verl-pr3924",
        "tba",
        "gflowrl",
        "powerflow",
        "stable-gfn",
        "reinforce",
        "ppo",
        "grpo",
        "gspo",
        "cispo",
    ];
    let all = all.map(|name| name.parse::<Objective>().unwrap());
    // Index 7 is token 4 of sequence 2.
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for objective in &all {
            for missing_old in [false, true] {
                let mut owned = good.clone();
                owned.log_probs[7] = bad;
                owned.old_log_probs = owned.old_log_probs.filter(|_| !missing_old);
                refused(device, objective, &owned, "`log_probs` must be finite, but sequence 2, token 4");
            }
            let mut owned = good.clone();
            owned.old_log_probs.as_mut().unwrap()[7] = bad;
            refused(device, objective, &owned, "`old_log_probs` must be finite, but sequence 2, token 4");
            let mut owned = good.clone();
            owned.ref_log_probs.as_mut().unwrap()[0] = bad;
            refused(device, objective, &owned, "`ref_log_probs` must be finite, but sequence 0, token 0");
            let mut owned = good.clone();
            owned.advantages[1] = bad;
            refused(device, objective, &owned, "`advantages` must be finite, but sequence 1");
            let mut owned = good.clone();
            owned.rewards[3] = bad;
            refused(device, objective, &owned, "`rewards` must be finite, but sequence 3");
        }
    }
    let apart = |distance: f32| {
        let old = good.log_probs.iter().map(|l| l - distance).collect();
        Owned { old_log_probs: Some(old), ..good.clone() }
    };
    refused(device, &"official".parse().unwrap(), &apart(100.0), "the importance weight of sequence 0 overflows");
    let mut owned = good.clone();
    owned.advantages[2] = 1e38;
    refused(device, &"paper".parse().unwrap(), &owned, "the residual of sequence 2 overflows");
    owned.advantages[2] = 1e25;
    refused(device, &"paper".parse().unwrap(), &owned, "the loss of sequence 2 overflows");
    let mut owned = good.clone();
    owned.ref_log_probs.as_mut().unwrap()[7] = 900.0;
    refused(device, &"grpo".parse().unwrap(), &owned, "the loss of sequence 2 overflows");
    let mut owned = good.clone();
    (owned.rewards[3], owned.values[3]) = (3e38, -3e38);
    refused(device, &"ppo".parse().unwrap(), &owned, "the advantage of sequence 3 overflows");

    let paper = Objective::preset(Preset::Paper);
    refused(device, &paper, &Owned { ref_log_probs: None, ..good.clone() }, "`ref_log_probs` is missing");
    refused(device, &paper, &Owned { log_z: None, ..good.clone() }, "`log_z` is missing");
    refused(device, &paper, &Owned { log_z: Some(vec![0.0; 3]), ..good.clone() }, "`log_z` has 3 elements");
    refused(device, &paper, &Owned { offsets: vec![5, 8, 7, 14, 23], ..good.clone() }, "`offsets` must ascend");
    refused(device, &paper, &Owned { rewards: vec![0.0; 2], ..good.clone() }, "`rewards` has 2 elements");
    // The loss is zero, but the weights exceed the range of f32.
    let mut owned = apart(40.0);
    (owned.ref_log_probs, owned.log_z, owned.advantages) =
        (Some(owned.log_probs.clone()), Some(vec![0.0; 4]), vec![0.0; 4]);
    refused(device, &"official".parse().unwrap(), &owned, "the importance weight of sequence 0 overflows");
    let flat = Objective::FlowRl(FlowRl::default().with_huber_delta(0.0));
    refused(device, &flat, &good, "option `huber_delta` is 0");
}

fn balance_over_parts<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    let mut owned = Owned::random(7, &[3, 1, 0, 20], 2);
    owned.log_flows = Some(normals(8, 24));
    for balance in [Balance::Detailed, Balance::SubTrajectory(0.9)] {
        let options = FlowRl::exact_tb().with_balance(balance).with_length(Length::Sum);
        agrees(device, "balance", &Objective::FlowRl(options), &owned);
    }
}

/// Checks every golden file to 1e-4 of max(1, |wanted|), the tolerance of the CPU in single precision.
fn golden_files<B: TransformerBackend<Real = f32>>(device: &B, _: Tolerance) {
    // The folder is looked up at run time because this test may run in another place than it was built in.
    let golden = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").unwrap()).join("../tests/golden");
    let entries = |folder| std::fs::read_dir(golden.join(folder)).expect("the golden directory is in the repository");
    let mut files = 0;
    for entry in ["objective", "family"].into_iter().flat_map(entries) {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let file: BatchFile = serde_json::from_str(&text).unwrap();
        let wanted = &serde_json::from_str::<Value>(&text).unwrap()["expected"];
        let got = serde_json::to_value(file.evaluate_on(device).unwrap()).unwrap();
        assert_near(&path.display().to_string(), &got, wanted);
        files += 1;
    }
    assert_eq!(files, 74, "every golden file is checked");
}

/// Asserts that everything expected is present and close.
fn assert_near(at: &str, got: &Value, wanted: &Value) {
    match wanted {
        Value::Object(wanted) => {
            wanted.iter().for_each(|(key, wanted)| assert_near(&format!("{at}: {key}"), &got[key], wanted))
        }
        Value::Array(wanted) => {
            assert_eq!(got.as_array().map(Vec::len), Some(wanted.len()), "{at}");
            wanted.iter().enumerate().for_each(|(i, wanted)| assert_near(&format!("{at}[{i}]"), &got[i], wanted));
        }
        _ => {
            let (got, wanted) = (got.as_f64().expect(at), wanted.as_f64().expect(at));
            assert!((got - wanted).abs() <= 1e-4 * wanted.abs().max(1.0), "{at}: got {got}, wanted {wanted}");
        }
    }
}

on_every_device!(
    random_batches,
    short_long_few_and_many_sequences,
    degenerate_groups,
    values_of_ppo,
    errors_of_the_cpu,
    balance_over_parts,
    golden_files,
);
