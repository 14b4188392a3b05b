//! Tests the training loop on a policy with few enough completions to enumerate: where it converges, and the properties
//! it must keep on the way.

mod dynamic;
mod left_out;
mod log_z;
mod one;
mod parts;
mod refusals;
mod tabular;

use flowrl_core::backend::{CpuBackend, Sampler};
use flowrl_core::objective::{FlowRl, LogZ, Objective, Preset, Reward, Sequence};
use flowrl_core::optim::{AdamW, Decay, Schedule};
use flowrl_core::partition::PartitionOptions;
use flowrl_core::policy::{Model, Policy, Scores, Sequences};
use flowrl_core::train::{LogZModel, Metrics, Progress, TrainOptions, Trainer};
use one::One;
use tabular::{Cpu, Rewards, Tabular};

/// A reward of 1 for each 1 (for the second prompt: each 0), and ½ for ending before the limit.
fn count(prompt: usize, completion: &[u32], ended: bool) -> f64 {
    let wanted = if prompt == 0 { 1 } else { 0 };
    completion.iter().filter(|t| **t == wanted).count() as f64 + if ended { 0.5 } else { 0.0 }
}

fn options(prompts: usize, samples: usize, rate: f64, steps: u64) -> TrainOptions {
    TrainOptions {
        prompts,
        samples,
        max_tokens: 3,
        schedule: Schedule { peak: rate, warmup: 0, total: steps, decay: Decay::Linear },
        clip_norm: None,
        log_z_learning_rate: 0.03,
        seed: 5,
        ..TrainOptions::default()
    }
}

fn trainer(policy: &Tabular, objective: Objective, options: TrainOptions) -> Trainer<Cpu> {
    Trainer::new(policy, objective, options).expect("good options")
}

/// Runs `steps` steps and returns the metrics of each.
fn run(trainer: &mut Trainer<Cpu>, policy: &mut Tabular, task: &Rewards, steps: u64) -> Vec<Metrics> {
    (0..steps).map(|_| trainer.step(policy, task).expect("a step").1).collect()
}

#[track_caller]
fn get(metrics: &Metrics, name: &str) -> f64 {
    metrics.iter().find(|(n, _)| *n == name).unwrap_or_else(|| panic!("no metric {name} in {metrics:?}")).1
}

fn flowrl(preset: Preset, change: impl FnOnce(&mut FlowRl)) -> Objective {
    let mut options = preset.flowrl().expect("a preset of FlowRL");
    change(&mut options);
    Objective::FlowRl(options)
}

#[test]
fn exact_tb_with_one_log_z_converges_to_the_target() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 1), Rewards::new(1, count));
    let mut trainer = trainer(&policy, flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar), options(1, 64, 0.05, 400));
    run(&mut trainer, &mut policy, &task, 400);
    let (tv, log_z) = task.distance(&mut policy, 0, 1.0, false);
    assert!(tv < 0.02, "total variation {tv}");
    let LogZModel::Scalar { state: [learned, ..] } = trainer.log_z() else { panic!("one number") };
    assert!((learned - log_z).abs() < 0.03, "log Z is {learned}, should be {log_z}");
}

#[test]
fn exact_tb_with_the_network_learns_log_z_of_each_prompt() {
    let (mut policy, task) = (Tabular::new(Cpu::new(2), 2), Rewards::new(2, count));
    let mut trainer = trainer(&policy, Objective::preset(Preset::ExactTb), options(2, 64, 0.05, 400));
    let metrics = run(&mut trainer, &mut policy, &task, 400);
    let mut mean = 0.0;
    for prompt in 0..2 {
        let (tv, log_z) = task.distance(&mut policy, prompt, 1.0, false);
        assert!(tv < 0.02, "total variation {tv} at prompt {prompt}");
        mean += log_z / 2.0;
    }
    assert!((get(&metrics[399], "log_z_mean") - mean).abs() < 0.03);
    assert!(policy.d_representation.is_some_and(|d| d.len() == 4 && d.iter().any(|d| *d != 0.0)));
}

#[test]
fn paper_with_raw_rewards_converges_to_the_length_normalised_fixed_point() {
    for log_z in [LogZ::Scalar, LogZ::Network] {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 1), Rewards::new(1, count));
        let objective = flowrl(Preset::Paper, |o| (o.reward, o.beta, o.log_z) = (Reward::Raw, 0.5, log_z));
        let mut trainer = trainer(&policy, objective, options(1, 64, 0.05, 600));
        run(&mut trainer, &mut policy, &task, 600);
        let (tv, _) = task.distance(&mut policy, 0, 0.5, true);
        let (plain, _) = task.distance(&mut policy, 0, 0.5, false);
        assert!(tv < 0.02 && plain > 0.1, "{log_z:?}: {tv} from the fixed point, {plain} from the plain target");
    }
}

#[test]
fn every_objective_improves_the_reward() {
    let mut objectives = vec![Objective::preset(Preset::VarGrad), Objective::preset(Preset::Paper)];
    objectives.extend([Preset::Tba, Preset::VerlPr3924, Preset::VerlRecipe, Preset::Official].map(Objective::preset));
    objectives.extend([Preset::Ppo, Preset::Grpo, Preset::Gspo].map(Objective::preset));
    objectives.extend([Preset::Reinforce, Preset::Dapo, Preset::Cispo].map(Objective::preset));
    for objective in objectives {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
        let before = policy.expected_reward(&task);
        let mut trainer = trainer(&policy, objective, options(2, 16, 0.05, 100));
        let metrics = run(&mut trainer, &mut policy, &task, 100);
        let after = policy.expected_reward(&task);
        assert!(after > before + 0.25, "{objective:?}: {before} → {after}");
        for metrics in &metrics {
            assert_eq!(get(metrics, "first_ratio_deviation").to_bits(), 0, "{objective:?}");
            assert!(metrics.iter().all(|(_, value)| value.is_finite()), "{metrics:?}");
        }
        assert_eq!(objective.needs_value(), metrics[0].iter().any(|(name, _)| *name == "value_loss"));
    }
}

#[test]
fn micro_batches_change_memory_and_nothing_else() {
    let objectives = [
        Objective::preset(Preset::Paper),
        Objective::preset(Preset::VarGrad),
        Objective::preset(Preset::VerlPr3924),
        flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar),
        Objective::preset(Preset::Ppo),
        Objective::preset(Preset::ReinforcePlusPlus),
        Objective::preset(Preset::Grpo),
    ];
    for objective in objectives {
        let results: Vec<_> = [0, 1, 2, 3]
            .map(|micro_batch| {
                let (mut policy, task) = (Tabular::new(Cpu::reference(), 5), Rewards::new(5, count));
                // With this large ε, a gradient that is 0 except for rounding does not become a full step.
                let optimizer = AdamW { eps: 1e-2, ..AdamW::default() };
                let (epochs, partition) = (2, PartitionOptions::RELEASED);
                let base = options(5, 4, 0.05, 100);
                let options = TrainOptions {
                    micro_batch,
                    epochs,
                    optimizer,
                    log_z_optimizer: optimizer,
                    minibatches: 2,
                    partition,
                    ..base
                };
                let mut trainer = trainer(&policy, objective, options);
                let metrics = run(&mut trainer, &mut policy, &task, 3);
                let extra = trainer.log_z().state(policy.backend()).expect("memory");
                (policy.gradients.concat(), policy.weights().to_vec(), extra, metrics)
            })
            .into();
        let (gradients, weights, extra, metrics) = &results[0];
        assert!(gradients.len() == 12 * 105 && gradients.iter().any(|g| *g != 0.0));
        for (g, w, e, m) in &results[1..] {
            let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()));
            assert!(close(g, gradients) && close(w, weights), "{objective:?}");
            assert!(e.iter().zip(extra).all(|((_, a), (_, b))| close(a, b)), "{objective:?}: log Z or V");
            for (m, metrics) in m.iter().zip(metrics) {
                for ((name, got), (_, wanted)) in m.iter().zip(metrics) {
                    assert!(
                        (got - wanted).abs() <= 1e-10 * (1.0 + wanted.abs()),
                        "{objective:?}: {name} {got} {wanted}"
                    );
                }
            }
        }
    }
}

/// Compares the gradients of one step with `Objective::compute` on the same completions. With one linear layer on
/// one-hot prompts that starts at 0, the gradients of log Z and V are sums: ∂/∂wₚ over the completions of prompt p, and
/// ∂/∂b over all.
#[test]
fn a_step_applies_the_gradient_of_the_objective() {
    let scalar = flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar);
    let ppo = Objective::preset(Preset::Ppo);
    let grpo = Preset::Grpo.policy_gradient().expect("one");
    for objective in [Objective::preset(Preset::Paper), scalar, ppo, grpo.into(), grpo.with_entropy(0.3).into()] {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 3), Rewards::new(3, count));
        let options = TrainOptions {
            partition: PartitionOptions { layers: 1, ..PartitionOptions::default() },
            micro_batch: 2,
            ..options(3, 4, 0.05, 10)
        };
        let mut trainer = trainer(&policy, objective, options);
        let rollouts = trainer.collect(&mut policy, &task).expect("completions");
        let metrics = trainer.learn(&mut policy, &rollouts).expect("a step");

        let mut other = Tabular::new(Cpu::reference(), 3);
        let prompts: Vec<&[u32]> = rollouts.prompts.iter().map(Vec::as_slice).collect();
        let (completions, prompt_of) = (rollouts.completions.slices(), &rollouts.completions.prompt_of);
        let sequences = Sequences { prompts: &prompts, completions: &completions, prompt_of };
        let ref_log_probs = other.score(&sequences, Model::Reference, 1.0).expect("known tokens").log_probs;
        let Scores { log_probs, entropies: h } = other.forward(&sequences, 1.0, None).expect("known tokens");
        let inputs: Vec<Sequence<'_, f64>> = (0..rollouts.len())
            .map(|i| {
                let tokens = rollouts.completions.offsets[i]..rollouts.completions.offsets[i + 1];
                Sequence {
                    group: prompt_of[i],
                    reward: rollouts.reward(i).expect("a reward"),
                    log_probs: &log_probs[tokens.clone()],
                    ref_log_probs: Some(&ref_log_probs[tokens.clone()]),
                    old_log_probs: Some(&rollouts.completions.log_probs[tokens.clone()]),
                    log_flows: None,
                    entropies: Some(&h[tokens]),
                    log_z: Some(0.0),
                    value: Some(0.0),
                    ..Sequence::default()
                }
            })
            .collect();
        let wanted = objective.compute(&inputs).expect("good input");
        let d: Vec<f64> = (0..inputs.len()).flat_map(|i| wanted.d_log_probs(i)).copied().collect();
        let d_entropies: Vec<f64> = (0..inputs.len()).flat_map(|i| wanted.d_entropies(i)).copied().collect();
        let d_entropies = objective.needs_entropies().then_some(&d_entropies[..]);
        other.backward(&d, d_entropies, None).expect("after a forward pass");
        other.update(&AdamW::default().step(0.0, 1, 1.0)).expect("memory");
        assert!(policy.gradients[0].iter().any(|g| *g != 0.0));
        for (got, wanted) in policy.gradients[0].iter().zip(&other.gradients[0]) {
            assert!((got - wanted).abs() < 1e-13, "{objective:?}: {got}, wanted {wanted}");
        }
        assert!((get(&metrics, "loss") - wanted.loss).abs() < 1e-12);

        let each: Vec<f64> = match trainer.log_z() {
            LogZModel::Value(_) => {
                let count = rollouts.len() as f64;
                (0..rollouts.len()).map(|i| -rollouts.reward(i).expect("a reward") / count).collect()
            }
            _ => wanted.d_log_z.clone(),
        };
        let all: f64 = each.iter().sum();
        let of_prompt = |p: usize| each.iter().zip(prompt_of).filter(|(_, q)| **q == p).map(|(d, _)| d).sum::<f64>();
        let squares = match trainer.log_z() {
            LogZModel::None => None,
            LogZModel::Scalar { .. } => Some(all * all),
            _ => Some(all * all + (0..3).map(|p| of_prompt(p).powi(2)).sum::<f64>()),
        };
        let norm = metrics.iter().find(|(name, _)| *name == "log_z_grad_norm").map(|(_, norm)| *norm);
        assert_eq!(norm.is_some(), squares.is_some());
        if let (Some(norm), Some(squares)) = (norm, squares) {
            assert!(
                norm > 0.0 && (norm - squares.sqrt()).abs() < 1e-12,
                "{objective:?}: {norm}, wanted {}",
                squares.sqrt()
            );
        }
    }
}

#[test]
fn later_updates_of_a_step_are_off_policy() {
    for (minibatches, epochs) in [(1, 1), (2, 1), (1, 2)] {
        let (mut policy, task) = (Tabular::new(Cpu::new(1), 1), Rewards::new(1, count));
        let base = options(2, 8, 0.05, 10);
        let mut trainer = trainer(
            &policy,
            Objective::preset(Preset::Paper),
            TrainOptions { minibatches, epochs, prompts: 2, ..base },
        );
        for metrics in run(&mut trainer, &mut policy, &task, 3) {
            assert_eq!(get(&metrics, "first_ratio_deviation").to_bits(), 0);
            assert_eq!(get(&metrics, "old_log_ratio_max") == 0.0, minibatches * epochs == 1);
        }
        assert_eq!(trainer.progress().updates, 3 * (minibatches * epochs) as u64);
    }
}

#[test]
fn temperature_is_the_policys_own() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 1), Rewards::new(1, count));
    let sampler = Sampler { temperature: 0.6, ..Sampler::default() };
    let options = TrainOptions { sampler, ..options(1, 8, 0.05, 10) };
    let mut trainer = trainer(&policy, Objective::preset(Preset::VarGrad), options);
    assert_eq!(get(&run(&mut trainer, &mut policy, &task, 1)[0], "first_ratio_deviation").to_bits(), 0);
}

#[test]
fn a_resumed_run_goes_on_to_the_same_bits() {
    let objectives = [
        Objective::preset(Preset::Paper),
        flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar),
        flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Table),
        Objective::preset(Preset::Ppo),
        Objective::preset(Preset::VarGrad),
    ];
    for objective in objectives {
        let task = Rewards::new(3, count);
        let start = || Tabular::new(Cpu::new(2), 3);
        let options = TrainOptions { minibatches: 2, ..options(2, 4, 0.05, 10) };
        let mut whole = (start(), trainer(&start(), objective, options));
        let wanted = run(&mut whole.1, &mut whole.0, &task, 10);

        let mut first = (start(), trainer(&start(), objective, options));
        run(&mut first.1, &mut first.0, &task, 5);
        let saved = first.1.log_z().state(first.0.backend()).expect("memory");
        let mut second = (start(), trainer(&start(), objective, options));
        second.0.restore(&first.0.state());
        let get = |name: &str| saved.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
        assert_eq!(second.1.log_z_mut().restore(second.0.backend(), get), Ok(Ok(())));
        second.1.set_progress(first.1.progress());
        let got = run(&mut second.1, &mut second.0, &task, 5);

        assert_eq!(got, wanted[5..], "{objective:?}");
        assert_eq!(second.0.state(), whole.0.state(), "{objective:?}");
        assert_eq!(second.1.log_z().state(second.0.backend()), whole.1.log_z().state(whole.0.backend()));
    }
}

#[test]
fn a_checkpoint_of_log_z_is_complete_in_single_precision() {
    let cpu = CpuBackend::<f32>::reference();
    let objective = flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar);
    let mut policy = One(cpu.clone());
    let mut trainer = Trainer::new(&policy, objective, options(1, 4, 0.05, 10)).expect("good options");
    for _ in 0..3 {
        trainer.step(&mut policy, &Rewards::new(1, |_, _, _| 0.7)).expect("a step");
    }
    let LogZModel::Scalar { state: before } = *trainer.log_z() else { panic!("one number") };
    let saved = trainer.log_z().state(&cpu).expect("memory");
    assert_eq!(trainer.log_z_mut().restore(&cpu, |_| Some(saved[0].1.clone())), Ok(Ok(())));
    let LogZModel::Scalar { state: after } = *trainer.log_z() else { panic!("one number") };
    assert!(before[0] != 0.0 && before == after, "{before:?} came back as {after:?}");
}

#[test]
fn a_gradient_that_is_not_finite_is_skipped_and_counted() {
    for objective in [Objective::preset(Preset::Paper), flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Scalar)] {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
        let mut trainer = trainer(&policy, objective, options(2, 4, 0.05, 10));
        run(&mut trainer, &mut policy, &task, 1);
        let (weights, log_z) = (policy.state(), trainer.log_z().state(policy.backend()));
        policy.fault = Some(0);
        let metrics = &run(&mut trainer, &mut policy, &task, 1)[0];
        assert_eq!(get(metrics, "skipped_updates"), 1.0);
        assert_eq!((policy.state(), trainer.log_z().state(policy.backend())), (weights.clone(), log_z));
        assert_eq!((trainer.progress().step, trainer.progress().updates, trainer.progress().skipped), (2, 1, 1));
        let metrics = &run(&mut trainer, &mut policy, &task, 1)[0];
        assert_eq!(get(metrics, "skipped_updates"), 1.0, "a running total");
        assert!(policy.state() != weights && policy.weights().iter().all(|w| w.is_finite()));
    }
}

#[test]
fn a_skipped_update_does_not_dilute_the_mean_gradient_norm() {
    let norm = |fault| {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
        let options = TrainOptions { epochs: 2, ..options(2, 4, 0.0, 10) };
        let mut trainer = trainer(&policy, Objective::preset(Preset::VarGrad), options);
        policy.fault = fault;
        get(&run(&mut trainer, &mut policy, &task, 1)[0], "grad_norm")
    };
    assert_eq!(norm(None), norm(Some(1)));
}

#[test]
fn groups_without_a_difference_and_groups_of_one_are_harmless() {
    let objectives = [Preset::Paper, Preset::VarGrad, Preset::Tba].map(Objective::preset);
    let baselines = [Preset::Grpo, Preset::Ppo, Preset::DrGrpo].map(Objective::preset);
    for objective in objectives.into_iter().chain(baselines) {
        for (samples, reward) in [(4, (|_, _, _| 1.0) as fn(usize, &[u32], bool) -> f64), (1, count)] {
            let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, reward));
            let mut trainer = trainer(&policy, objective, options(2, samples, 0.05, 5));
            for metrics in run(&mut trainer, &mut policy, &task, 5) {
                assert_eq!(get(&metrics, "degenerate_groups"), 1.0);
                assert!(metrics.iter().all(|(_, value)| value.is_finite()), "{objective:?}: {metrics:?}");
            }
            assert!(policy.weights().iter().all(|w| w.is_finite()));
        }
    }
    // Here half of the groups are degenerate: rewards differ for only one of the two prompts.
    let reward = |prompt: usize, y: &[u32], _: bool| if prompt == 0 { y[0] as f64 } else { 0.0 };
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, reward));
    let mut trainer = trainer(&policy, Objective::preset(Preset::Grpo), options(2, 16, 0.05, 5));
    assert_eq!(get(&run(&mut trainer, &mut policy, &task, 1)[0], "degenerate_groups"), 0.5);
}

#[test]
fn every_epoch_goes_through_every_prompt_once() {
    for (prompts, count) in [(1, 7), (3, 7), (7, 7), (10, 4), (5, 1)] {
        let policy = Tabular::new(Cpu::reference(), 1);
        let mut trainer = trainer(&policy, Objective::preset(Preset::VarGrad), options(prompts, 1, 0.1, 1));
        let mut all = Vec::new();
        for step in 0..4 * count {
            trainer.set_progress(Progress { step: step as u64, ..trainer.progress() });
            all.extend(trainer.next_prompts(count));
        }
        let epochs: Vec<Vec<usize>> = all.chunks_exact(count).map(<[usize]>::to_vec).collect();
        for epoch in &epochs {
            let mut sorted = epoch.clone();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..count).collect::<Vec<_>>());
        }
        assert!(count == 1 || epochs.iter().any(|epoch| *epoch != epochs[0]), "each epoch has its own order");
        assert!(trainer.next_prompts(0).is_empty());
    }
}
