//! Completions without a reward, of which nothing is learned.

use flowrl_core::objective::{Objective, Preset};
use flowrl_core::policy::Completions;
use flowrl_core::task::Judgement;
use flowrl_core::train::{Rollouts, TrainOptions};

use super::tabular::{Cpu, Rewards, Tabular};
use super::{count, get, options, trainer};

/// Returns rollouts of two prompts and four completions each, of which `left_out` have no reward.
fn rollouts(left_out: &[usize]) -> Rollouts<f64> {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
    let trainer = trainer(&policy, Objective::preset(Preset::Grpo), options(2, 4, 0.05, 1));
    let mut rollouts = trainer.collect(&mut policy, &task).expect("completions");
    for &i in left_out {
        rollouts.judgements[i] = Judgement::without_reward("timeout");
    }
    rollouts
}

/// Returns the rollouts as if the completions `left_out` had not been sampled.
fn without(mut rollouts: Rollouts<f64>, left_out: &[usize]) -> Rollouts<f64> {
    let kept: Vec<usize> = (0..rollouts.len()).filter(|i| !left_out.contains(i)).collect();
    let mut completions = Completions { offsets: vec![0], ..Completions::default() };
    let own = &rollouts.completions;
    for &i in &kept {
        let tokens = own.offsets[i]..own.offsets[i + 1];
        completions.prompt_of.push(own.prompt_of[i]);
        completions.tokens.extend(&own.tokens[tokens.clone()]);
        completions.log_probs.extend(&own.log_probs[tokens.clone()]);
        completions.entropies.extend(&own.entropies[tokens]);
        completions.offsets.push(completions.tokens.len());
        completions.ended.push(own.ended[i]);
    }
    rollouts.judgements = kept.iter().map(|&i| rollouts.judgements[i].clone()).collect();
    rollouts.completions = completions;
    rollouts
}

#[test]
fn a_completion_without_a_reward_counts_as_never_sampled() {
    let left_out = [1, 6];
    let (some, fewer) = (rollouts(&left_out), without(rollouts(&left_out), &left_out));
    assert_eq!((some.len(), fewer.len()), (8, 6));
    for preset in [Preset::Grpo, Preset::Paper, Preset::Ppo, Preset::VarGrad] {
        for options in [options(2, 4, 0.05, 1), TrainOptions { minibatches: 2, ..options(2, 4, 0.05, 1) }] {
            let learn = |rollouts| {
                let mut policy = Tabular::new(Cpu::reference(), 2);
                let mut trainer = trainer(&policy, Objective::preset(preset), options);
                let metrics = trainer.learn(&mut policy, rollouts).expect("a step");
                (policy.weights().to_vec(), metrics)
            };
            let ((weights, metrics), (wanted, of_fewer)) = (learn(&some), learn(&fewer));
            assert_eq!(weights, wanted, "{preset:?}");
            for name in ["reward_mean", "reward_std", "success", "degenerate_groups", "loss", "grad_norm"] {
                assert_eq!(get(&metrics, name), get(&of_fewer, name), "{preset:?} {name}");
            }
            assert_eq!(get(&metrics, "left_out"), 2.0);
            assert!(of_fewer.iter().all(|(name, _)| *name != "left_out"));
        }
    }
}

#[test]
fn a_step_without_any_reward_learns_nothing_and_goes_on() {
    let rollouts = rollouts(&[0, 1, 2, 3, 4, 5, 6, 7]);
    let mut policy = Tabular::new(Cpu::reference(), 2);
    let mut trainer = trainer(&policy, Objective::preset(Preset::Paper), options(2, 4, 0.05, 1));
    let before = policy.weights().to_vec();
    let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");
    assert_eq!((policy.weights(), trainer.progress().step, trainer.progress().updates), (&before[..], 1, 0));
    assert!(metrics.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
}

#[test]
fn a_group_of_equal_rewards_stays_degenerate_beside_one_that_is_left_out() {
    let mut policy = Tabular::new(Cpu::reference(), 2);
    let mut rollouts = rollouts(&[0, 7]);
    for i in 1..4 {
        rollouts.judgements[i] = Judgement::new(0.5, "wrong");
    }
    let mut trainer = trainer(&policy, Objective::preset(Preset::Grpo), options(2, 4, 0.05, 1));
    let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");
    assert_eq!(get(&metrics, "degenerate_groups"), 0.5);
}
