//! Dynamic sampling, the soft overlong penalty, and the correction for the engine that sampled.

use flowrl_core::objective::{Objective, PolicyGradient, Preset, RolloutCorrection};
use flowrl_core::train::{Progress, Rollouts, TrainOptions};

use super::tabular::{Cpu, Rewards, Tabular};
use super::{count, get, options, run, trainer};

/// A reward that is different for different completions of even prompts, and always 1 for odd prompts.
fn even(prompt: usize, completion: &[u32], _: bool) -> f64 {
    let place = |x: f64, (i, &token): (usize, &u32)| x + f64::from(token + 1) * 4_f64.powi(i as i32);
    if prompt.is_multiple_of(2) { completion.iter().enumerate().fold(0.0, place) } else { 1.0 }
}

fn dynamic(extra: usize) -> TrainOptions {
    TrainOptions { dynamic_sampling: extra, ..options(2, 4, 0.05, 10) }
}

fn gradient(rollouts: &Rollouts<f64>, objective: Objective, options: TrainOptions) -> Vec<f64> {
    let mut policy = Tabular::new(Cpu::reference(), 8);
    trainer(&policy, objective, options).learn(&mut policy, rollouts).expect("a step");
    policy.gradients.concat()
}

#[test]
fn batches_are_sampled_until_enough_groups_differ() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 8), Rewards::new(8, even));
    let mut trainer = trainer(&policy, Objective::preset(Preset::Grpo), dynamic(100));
    let (mut prompts, mut extra) = (Vec::new(), 0);
    for step in 0..6 {
        let rollouts = trainer.collect(&mut policy, &task).expect("completions");
        let selection = rollouts.selection.clone().expect("a selection");
        assert_eq!(rollouts.prompts.len() as u64, 2 * selection.batches);
        assert_eq!(selection.prompts.len(), 2);
        assert!(selection.prompts.iter().all(|&p| rollouts.prompt_numbers[p].is_multiple_of(2)));
        let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");
        let [sampled, learned] = ["sampled_groups", "learned_groups"].map(|name| get(&metrics, name));
        assert_eq!([sampled, learned], [rollouts.prompts.len() as f64, 2.0]);
        assert!(get(&metrics, "degenerate_groups") > 0.0 || selection.batches == 1, "of all that were sampled");
        extra += selection.batches - 1;
        assert_eq!((trainer.progress().step, trainer.progress().extra_batches), (step + 1, extra));
        prompts.extend(rollouts.prompt_numbers);
    }
    assert!(extra > 0);
    for epoch in prompts.chunks_exact(8) {
        let mut sorted = epoch.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..8).collect::<Vec<_>>(), "no batch is left out or drawn twice");
    }
}

#[test]
fn no_two_batches_share_their_random_numbers() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 1), Rewards::new(1, |_, _, _| 1.0));
    let options = TrainOptions { prompts: 1, samples: 16, ..dynamic(3) };
    let mut trainer = trainer(&policy, Objective::preset(Preset::Grpo), options);
    let mut groups: Vec<Vec<u32>> = Vec::new();
    for _ in 0..3 {
        let rollouts = trainer.collect(&mut policy, &task).expect("completions");
        assert_eq!(trainer.collect(&mut policy, &task).expect("again").completions, rollouts.completions);
        groups.extend(
            (0..4).map(|p| (16 * p..16 * (p + 1)).flat_map(|i| rollouts.completions.get(i)).copied().collect()),
        );
        trainer.learn(&mut policy, &rollouts).expect("a step");
    }
    groups.sort();
    groups.dedup();
    assert_eq!(groups.len(), 12);
}

#[test]
fn groups_that_were_discarded_are_not_learned_from() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 8), Rewards::new(8, even));
    let rollouts =
        trainer(&policy, Objective::preset(Preset::Grpo), dynamic(9)).collect(&mut policy, &task).expect("completions");
    let kept = rollouts.selection.as_ref().expect("a selection").prompts.clone();
    // This batch holds the kept prompts alone. Every other number of the rollouts is restricted to them.
    let mut alone = rollouts.clone();
    alone.selection = None;
    let keep = |p: &usize| kept.contains(p);
    let sequences: Vec<usize> = (0..rollouts.len()).filter(|&i| keep(&rollouts.completions.prompt_of[i])).collect();
    let c = &rollouts.completions;
    let tokens: Vec<usize> = sequences.iter().flat_map(|&i| c.offsets[i]..c.offsets[i + 1]).collect();
    alone.prompts = kept.iter().map(|&p| rollouts.prompts[p].clone()).collect();
    alone.prompt_numbers = kept.iter().map(|&p| rollouts.prompt_numbers[p]).collect();
    alone.judgements = sequences.iter().map(|&i| rollouts.judgements[i].clone()).collect();
    alone.completions.prompt_of = (0..8).map(|i| i / 4).collect();
    alone.completions.ended = sequences.iter().map(|&i| c.ended[i]).collect();
    alone.completions.tokens = tokens.iter().map(|&t| c.tokens[t]).collect();
    alone.completions.log_probs = tokens.iter().map(|&t| c.log_probs[t]).collect();
    alone.completions.offsets = sequences.iter().fold(vec![0], |mut offsets, &i| {
        offsets.push(offsets[offsets.len() - 1] + c.get(i).len());
        offsets
    });
    for preset in [Preset::Grpo, Preset::Paper, Preset::Ppo] {
        let objective = Objective::preset(preset);
        let learned = gradient(&rollouts, objective, dynamic(9));
        assert!(learned.iter().any(|d| *d != 0.0));
        assert_eq!(learned, gradient(&alone, objective, options(2, 4, 0.05, 10)), "{objective:?}");
    }
}

#[test]
fn a_resumed_run_samples_the_same_batches() {
    let task = Rewards::new(8, even);
    let start = || {
        let policy = Tabular::new(Cpu::reference(), 8);
        let trainer = trainer(&policy, Objective::preset(Preset::Grpo), dynamic(3));
        (policy, trainer)
    };
    let (mut policy, mut whole) = start();
    run(&mut whole, &mut policy, &task, 3);
    let (saved, progress) = (policy.state(), whole.progress());
    assert!(progress.extra_batches > 0);
    let metrics = run(&mut whole, &mut policy, &task, 3);
    let (mut again, mut resumed) = start();
    again.restore(&saved);
    resumed.set_progress(progress);
    assert_eq!(run(&mut resumed, &mut again, &task, 3), metrics);
    assert_eq!(again.weights(), policy.weights());
    resumed.set_progress(Progress { extra_batches: 0, ..progress });
    assert_ne!(resumed.next_prompts(8), {
        whole.set_progress(progress);
        whole.next_prompts(8)
    });
}

#[test]
fn a_step_that_finds_too_few_groups_learns_from_what_there_is() {
    for (reward, learned) in [((|_, _, _| 1.0) as fn(usize, &[u32], bool) -> f64, 0.0), (even, 1.0)] {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 8), Rewards::new(8, reward));
        let options = TrainOptions { prompts: 8, minibatches: 4, ..dynamic(if learned == 0.0 { 2 } else { 0 }) };
        let mut trainer = trainer(&policy, Objective::preset(Preset::Grpo), options);
        let mut rollouts = trainer.collect(&mut policy, &task).expect("completions");
        if learned > 0.0 {
            rollouts.selection = Some(flowrl_core::train::Selection {
                batches: 1,
                prompts: vec![rollouts.prompt_numbers.iter().position(|p| *p == 0).unwrap()],
            });
        }
        let before = policy.weights().to_vec();
        let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");
        assert_eq!(get(&metrics, "learned_groups"), learned);
        assert_eq!((policy.weights() == before, policy.gradients.len()), (learned == 0.0, learned as usize));
        assert!(metrics.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
        assert_eq!((trainer.progress().step, trainer.progress().updates), (1, learned as u64));
    }
}

#[test]
fn a_batch_that_is_enough_gives_the_bits_of_a_plain_step() {
    let run = |options| {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
        let mut trainer = trainer(&policy, Objective::preset(Preset::Paper), options);
        let metrics = trainer.step(&mut policy, &task).expect("a step").1;
        (policy.weights().to_vec(), metrics)
    };
    let plain = options(2, 16, 0.05, 1);
    let (weights, mut metrics) = run(TrainOptions { dynamic_sampling: 5, ..plain });
    assert_eq!([get(&metrics, "sampled_groups"), get(&metrics, "learned_groups")], [2.0; 2]);
    metrics.retain(|(name, _)| !name.ends_with("_groups") || *name == "degenerate_groups");
    assert_eq!((weights, metrics), run(plain));
}

#[test]
fn the_overlong_penalty_is_taken_off_what_is_learned_and_not_off_the_record() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
    let plain = options(2, 16, 0.05, 1);
    let overlong = TrainOptions { overlong_buffer: 2, overlong_penalty: 0.5, ..plain };
    let rollouts =
        trainer(&policy, Objective::preset(Preset::Grpo), plain).collect(&mut policy, &task).expect("completions");
    let mut lowered = rollouts.clone();
    let taken: Vec<f64> =
        (0..rollouts.len()).map(|i| [0.0, 0.0, 0.25, 0.5][rollouts.completions.get(i).len()]).collect();
    for (judgement, taken) in lowered.judgements.iter_mut().zip(&taken) {
        judgement.reward = judgement.reward.map(|reward| reward - taken);
    }
    for preset in [Preset::Grpo, Preset::Paper, Preset::Ppo] {
        let objective = Objective::preset(preset);
        assert_ne!(gradient(&rollouts, objective, plain), gradient(&lowered, objective, plain));
        assert_eq!(gradient(&rollouts, objective, overlong), gradient(&lowered, objective, plain), "{objective:?}");
    }
    let mut learn = |rollouts, options| {
        let mut trainer = trainer(&policy, Objective::preset(Preset::Ppo), options);
        trainer.learn(&mut policy, rollouts).expect("a step")
    };
    let (with, without) = (learn(&rollouts, overlong), learn(&rollouts, plain));
    assert_eq!(get(&with, "value_loss"), get(&learn(&lowered, plain), "value_loss"));
    let mean = taken.iter().sum::<f64>() / 32.0;
    assert!(mean > 0.1 && (get(&with, "overlong_penalty") - mean).abs() < 1e-12);
    assert_eq!(get(&with, "reward_mean"), get(&without, "reward_mean"));
    assert!(without.iter().all(|(name, _)| *name != "overlong_penalty"));
}

#[test]
fn rollout_weights_are_those_of_the_engine_that_sampled() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 8), Rewards::new(8, count));
    let options = options(2, 16, 0.05, 1);
    let mut rollouts =
        trainer(&policy, Objective::preset(Preset::Grpo), options).collect(&mut policy, &task).expect("completions");
    let objective = |correction, max| {
        let mut options = PolicyGradient::default();
        (options.rollout_correction, options.rollout_max) = (correction, max);
        Objective::from(options)
    };
    let token = RolloutCorrection::TokenTruncate;
    let plain = gradient(&rollouts, objective(token, 2.0), options);
    rollouts.rollout_log_probs = Some(rollouts.completions.log_probs.iter().map(|l| l - 1.5_f64.ln()).collect());
    for (correction, max, wanted, bounded) in [
        (RolloutCorrection::None, 2.0, 1.0, None),
        (token, 2.0, 1.5, Some(0.0)),
        (token, 1.2, 1.2, Some(1.0)),
        (RolloutCorrection::TokenMask, 1.2, 0.0, Some(1.0)),
        (RolloutCorrection::SequenceMask, 1.2, 0.0, Some(1.0)),
    ] {
        let got = gradient(&rollouts, objective(correction, max), options);
        assert!(
            got.iter().zip(&plain).all(|(got, plain)| (got - wanted * plain).abs() < 1e-12),
            "{correction:?} {max}"
        );
        let mut policy = Tabular::new(Cpu::reference(), 8);
        let metrics =
            trainer(&policy, objective(correction, max), options).learn(&mut policy, &rollouts).expect("a step");
        let find = |name| metrics.iter().find(|(n, _)| *n == name).map(|(_, value)| *value);
        assert_eq!(find("rollout_clip_fraction"), bounded);
        assert_eq!(find("rollout_drift").map(|x| (x - 1.5_f64.ln()).abs() < 1e-12), bounded.map(|_| true));
    }
}
