//! Compares the reported gradients with finite differences of the loss, for every option, shape and baseline.

use crate::numeric::{assert_close, finite_difference, numbers};
use flowrl_core::objective::{
    Aggregate, Evaluation, FlowRl, Importance, Length, LogZ, Objective, PolicyGradient, Preset, Ratio, Reward,
    Sequence, Shape, TokenMask,
};

/// Eight sequences of lengths 0 to 6 in three groups, which are interleaved. One of the groups has a single sequence.
struct Data {
    groups: Vec<usize>,
    rewards: Vec<f64>,
    log_z: Vec<f64>,
    values: Vec<f64>,
    entropies: Vec<Vec<f64>>,
    log_probs: Vec<Vec<f64>>,
    ref_log_probs: Vec<Vec<f64>>,
    old_log_probs: Vec<Vec<f64>>,
}

impl Data {
    fn new(seed: u64) -> Self {
        let lengths = [4, 1, 0, 6, 2, 3, 5, 1];
        let tokens = |salt: u64, spread: f64| {
            let one = |(i, &n): (usize, &usize)| {
                let (base, noise) = (numbers(seed + i as u64, n), numbers(seed + salt + i as u64, n));
                base.iter().zip(noise).map(|(b, x)| -1.5 + b + spread * x).collect()
            };
            lengths.iter().enumerate().map(one).collect::<Vec<Vec<f64>>>()
        };
        Self {
            groups: vec![0, 5, 0, 5, 2, 0, 5, 0],
            rewards: numbers(seed + 100, 8),
            log_z: numbers(seed + 200, 8),
            values: numbers(seed + 300, 8),
            entropies: tokens(4000, 0.2),
            log_probs: tokens(1000, 0.0),
            ref_log_probs: tokens(2000, 0.4),
            old_log_probs: tokens(3000, 0.3),
        }
    }

    fn compute(&self, objective: Objective) -> Evaluation<f64> {
        let sequences: Vec<_> = (0..self.groups.len())
            .map(|i| Sequence {
                group: self.groups[i],
                reward: self.rewards[i],
                log_probs: &self.log_probs[i],
                ref_log_probs: Some(&self.ref_log_probs[i]),
                old_log_probs: Some(&self.old_log_probs[i]),
                log_flows: None,
                entropies: Some(&self.entropies[i]),
                truncated: i == 3,
                log_z: Some(self.log_z[i]),
                value: Some(self.values[i]),
                ..Sequence::default()
            })
            .collect();
        objective.compute(&sequences).expect("valid input")
    }
}

/// Checks FlowRL. Its gradient treats w, the mask and an estimated log Z as constants, so this moves l and l_old
/// together and passes the estimate as a number.
fn check_flowrl(options: FlowRl) {
    for seed in [1, 2, 3] {
        let mut data = Data::new(seed);
        let evaluation = data.compute(Objective::FlowRl(options));
        data.log_z.copy_from_slice(&evaluation.log_z);
        let held = Objective::FlowRl(options.with_log_z(LogZ::Given));
        for i in 0..data.groups.len() {
            for (t, got) in evaluation.d_log_probs(i).iter().enumerate() {
                let (l, l_old) = (data.log_probs[i][t], data.old_log_probs[i][t]);
                let wanted = finite_difference(&[0.0], |shift| {
                    let mut moved = Data {
                        log_probs: data.log_probs.clone(),
                        old_log_probs: data.old_log_probs.clone(),
                        ..Data::new(seed)
                    };
                    moved.log_z.copy_from_slice(&data.log_z);
                    moved.log_probs[i][t] = l + shift[0];
                    moved.old_log_probs[i][t] = l_old + shift[0];
                    moved.compute(held).loss
                });
                assert_close(&[*got], &wanted, 1e-8);
            }
        }
        let d_log_z = finite_difference(&data.log_z, |log_z| {
            let moved = Data { log_z: log_z.to_vec(), ..Data::new(seed) };
            moved.compute(held).loss
        });
        let zero = vec![0.0; d_log_z.len()];
        let wanted = if options.log_z.has_gradient() { &d_log_z } else { &zero };
        assert_close(&evaluation.d_log_z, wanted, 1e-8);
    }
}

#[test]
fn presets() {
    for options in Preset::ALL.iter().filter_map(|preset| preset.flowrl()) {
        let bounded = options.residual_clip_low.get().is_some();
        if bounded || options.log_z == LogZ::Pairwise { check_unweighted(options) } else { check_flowrl(options) }
    }
}

/// Checks pairs, and residuals with a bounded part that is a constant of the sampling policy. Without an importance
/// weight nothing has to be kept constant.
fn check_unweighted(options: FlowRl) {
    let objective = Objective::from(options.with_importance(Importance::None));
    for seed in [1, 2, 3] {
        let data = Data::new(seed);
        let evaluation = data.compute(objective);
        for i in 0..data.groups.len() {
            for (t, got) in evaluation.d_log_probs(i).iter().enumerate() {
                let wanted = finite_difference(&[0.0], |shift| {
                    let mut moved = Data::new(seed);
                    moved.log_probs[i][t] += shift[0];
                    moved.compute(objective).loss
                });
                assert_close(&[*got], &wanted, 1e-8);
            }
        }
        assert_eq!(evaluation.d_log_z, vec![0.0; data.groups.len()]);
    }
}

#[test]
fn relatives_of_flowrl() {
    let base = FlowRl::default().with_beta(1.5).with_reward(Reward::Raw);
    let pairs = base.with_log_z(LogZ::Pairwise);
    for length in [Length::Mean, Length::Sum, Length::Fixed(7)] {
        check_unweighted(pairs.with_length(length).with_pair_gap(0.4));
        check_unweighted(pairs.with_length(length).with_shape(Shape::Huber).with_huber_delta(0.33));
        let old = base.with_length(length).with_log_z(LogZ::OldGroupMean);
        check_unweighted(old);
        check_unweighted(old.with_residual_clip_high(Some(0.3)).with_shape(Shape::Huber).with_huber_delta(0.21));
        check_flowrl(base.with_length(length).with_reference_power(2.5).with_token_mask(TokenMask::Cispo));
        check_flowrl(base.with_length(length).with_reference_power(0.0).with_log_z(LogZ::LeaveOneOut));
    }
    check_flowrl(base.with_log_z(LogZ::Frozen));
    check_flowrl(base.with_log_z(LogZ::Table));
}

#[test]
fn every_flowrl_option() {
    let base = FlowRl::default().with_beta(3.0);
    for length in [Length::Mean, Length::Sum, Length::Fixed(7)] {
        for token_mask in [TokenMask::None, TokenMask::Cispo] {
            for log_z in [LogZ::Network, LogZ::Given, LogZ::Scalar, LogZ::GroupMean, LogZ::LeaveOneOut, LogZ::Zero] {
                check_flowrl(base.with_length(length).with_token_mask(token_mask).with_log_z(log_z));
            }
        }
    }
    for reward in Reward::ALL {
        for importance in Importance::ALL {
            for shape in Shape::ALL {
                check_flowrl(
                    base.with_reward(*reward).with_importance(*importance).with_shape(*shape).with_huber_delta(1.3),
                );
            }
        }
    }
    check_flowrl(base.with_clip_low(None).with_clip_high(None));
    check_flowrl(base.with_clip_low(Some(0.9)).with_clip_high(None).with_reward_ddof(0));
}

#[test]
fn every_policy_gradient() {
    for options in Preset::ALL.iter().filter_map(|preset| preset.policy_gradient()) {
        for aggregate in [Aggregate::SequenceMean, Aggregate::TokenMean, Aggregate::Fixed(9)] {
            for kl in [0.0, 0.04] {
                check_gradient(wide(options).with_aggregate(aggregate).with_kl(kl));
            }
        }
        check_gradient(options.with_clip_low(None).with_clip_high(None));
    }
}

/// Widens the bounds of GSPO, which are narrower than the step of a finite difference.
fn wide(options: PolicyGradient) -> PolicyGradient {
    match options.ratio {
        Ratio::Sequence => options.with_clip_low(Some(0.9)).with_clip_high(Some(1.1)),
        _ => options,
    }
}

fn check_gradient(options: PolicyGradient) {
    let objective = Objective::from(options);
    // With these seeds no ratio is close to a bound, where the loss has a kink.
    for seed in [1, 2, 5] {
        let data = Data::new(seed);
        let evaluation = data.compute(objective);
        assert_eq!(evaluation.d_log_z, vec![0.0; data.groups.len()]);
        for i in 0..data.groups.len() {
            for (t, got) in evaluation.d_log_probs(i).iter().enumerate() {
                let wanted = finite_difference(&[0.0], |shift| {
                    let mut moved = Data::new(seed);
                    moved.log_probs[i][t] += shift[0];
                    // This ratio has no gradient, so keep it constant.
                    if options.ratio == Ratio::Detached {
                        moved.old_log_probs[i][t] += shift[0];
                    }
                    moved.compute(objective).loss
                });
                assert_close(&[*got], &wanted, 1e-8);
            }
        }
    }
}

/// The bonus is linear in the entropies, so its gradient times the entropies is the whole bonus. Entropies of a masked
/// sequence have no gradient.
#[test]
fn the_entropy_bonus() {
    let grpo = Preset::Grpo.policy_gradient().expect("one").with_mask_truncated(true);
    // Divisor for a sequence of n tokens. All eight sequences count, but the truncated one has no tokens that count;
    // the others have 16 together.
    for aggregate in [Aggregate::SequenceMean, Aggregate::TokenMean, Aggregate::Fixed(9)] {
        let divisor = |n: usize| match aggregate {
            Aggregate::SequenceMean => 8.0 * n as f64,
            Aggregate::TokenMean => 16.0,
            _ => 8.0 * 9.0,
        };
        let data = Data::new(1);
        let options = grpo.with_aggregate(aggregate);
        let (plain, bonus) = (data.compute(options.into()), data.compute(options.with_entropy(0.3).into()));
        let mut taken_off = 0.0;
        for (i, entropies) in data.entropies.iter().enumerate() {
            assert_eq!(bonus.d_log_probs(i), plain.d_log_probs(i));
            assert!(plain.d_entropies(i).is_empty());
            let share = if i == 3 { 0.0 } else { -0.3 / divisor(entropies.len()) };
            assert_close(bonus.d_entropies(i), &vec![share; entropies.len()], 1e-15);
            taken_off += entropies.iter().map(|h| share * h).sum::<f64>();
        }
        assert!((bonus.loss - plain.loss - taken_off).abs() < 1e-14, "{aggregate:?}: {} {taken_off}", bonus.loss);
    }
}

#[test]
fn the_value_loss() {
    let (rewards, values) = (numbers(1, 5), numbers(2, 5));
    let loss =
        |values: &[f64]| flowrl_core::objective::value_loss(&rewards, values, 10, &mut [0.0; 5]).expect("valid input");
    let mut d_values = [0.0; 5];
    flowrl_core::objective::value_loss(&rewards, &values, 10, &mut d_values).expect("valid input");
    assert_close(&d_values, &finite_difference(&values, loss), 1e-10);
}
