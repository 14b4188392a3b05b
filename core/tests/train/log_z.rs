//! A table of log Z, one number for each prompt, and a frozen log Z.

use flowrl_core::objective::{Length, LogZ, Preset};
use flowrl_core::train::{LogZModel, Progress, PromptOrder, TrainOptions, Trainer};

use super::tabular::{Cpu, Rewards, Tabular};
use super::{count, flowrl, get, options, run, trainer};

#[test]
fn a_table_of_one_prompt_is_the_scalar_bit_for_bit() {
    let weights = |log_z: LogZ| {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 1), Rewards::new(1, count));
        let mut trainer = trainer(&policy, flowrl(Preset::ExactTb, |o| o.log_z = log_z), options(1, 8, 0.05, 20));
        let metrics = run(&mut trainer, &mut policy, &task, 20);
        (policy.weights().to_vec(), metrics)
    };
    assert_eq!(weights(LogZ::Table), weights(LogZ::Scalar));
}

#[test]
fn a_table_learns_log_z_of_each_prompt_and_means_then_have_the_right_target() {
    let reward = |prompt: usize, y: &[u32], ended: bool| if prompt == 0 { count(0, y, ended) } else { 0.0 };
    let learned = |log_z: LogZ| {
        let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, reward));
        let objective = flowrl(Preset::ExactTb, |o| (o.log_z, o.length, o.beta) = (log_z, Length::Mean, 1.0));
        let mut trainer = trainer(&policy, objective, options(1, 64, 0.05, 800));
        run(&mut trainer, &mut policy, &task, 800);
        (0..2).map(|prompt| task.distance(&mut policy, prompt, 1.0, true).0).fold(0.0, f64::max)
    };
    let (table, scalar) = (learned(LogZ::Table), learned(LogZ::Scalar));
    assert!(table < 0.02, "total variation {table}");
    assert!(scalar > 0.05, "one number for both is the log Z of neither, {scalar}");
}

#[test]
fn a_frozen_log_z_is_the_callers_and_stays() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
    let objective = flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Frozen);
    let mut trainer = trainer(&policy, objective, options(2, 4, 0.05, 5));
    let error = trainer.step(&mut policy, &task).expect_err("no log Z yet").to_string();
    assert!(error.contains("`log_z` is missing") && error.contains("LogZModel::Frozen"), "{error}");
    *trainer.log_z_mut() = LogZModel::Frozen(vec![0.5, 1.0]);
    let metrics = run(&mut trainer, &mut policy, &task, 1);
    assert_eq!(get(&metrics[0], "log_z_mean"), 0.75);
    assert!(metrics[0].iter().all(|(name, _)| *name != "log_z_grad_norm"), "nothing is learned");
}

fn by_pass_rate(prompts: usize, steps: u64) -> TrainOptions {
    TrainOptions { prompt_order: PromptOrder::PassRate, ..options(prompts, 8, 0.05, steps) }
}

#[test]
fn prompts_are_drawn_by_the_pass_rate_that_log_z_tells() {
    let policy = Tabular::new(Cpu::reference(), 1);
    let objective = flowrl(Preset::ExactTb, |o| (o.log_z, o.beta) = (LogZ::Table, 2.0));
    let mut one = trainer(&policy, objective, by_pass_rate(1, 5));
    let row = |log_z| [log_z, 0.0, 0.0, 0.0, 1.0];
    // The last two prompts are new, so they count as ½.
    let state = vec![row(1.0), row(0.2), row(3.0)];
    *one.log_z_mut() = LogZModel::Table { initial: 1.0, state: state.clone(), touched: Vec::new() };
    let weights = [0.26, 0.1, 0.01, 0.26, 0.26];
    let (batches, mut drawn) = (4000, [0; 5]);
    for step in 0..batches {
        one.set_progress(Progress { step, ..Progress::default() });
        drawn[one.next_prompts(5)[0]] += 1;
    }
    for (count, weight) in drawn.into_iter().zip(weights) {
        let (share, wanted) = (f64::from(count) / batches as f64, weight / weights.iter().sum::<f64>());
        let error = (wanted * (1.0 - wanted) / batches as f64).sqrt();
        assert!((share - wanted).abs() < 4.0 * error, "{drawn:?}: {share}, wanted {wanted}");
    }

    let mut seven = trainer(&policy, objective, by_pass_rate(7, 5));
    *seven.log_z_mut() = LogZModel::Table { initial: 1.0, state, touched: Vec::new() };
    let batch = seven.next_prompts(5);
    let mut distinct = batch[..5].to_vec();
    distinct.sort_unstable();
    assert_eq!((distinct, &batch[5..]), (vec![0, 1, 2, 3, 4], &batch[..2]), "all prompts, then again");
    assert_eq!(seven.next_prompts(5), batch, "a draw can be repeated");
    assert!(seven.next_prompts(0).is_empty());
}

#[test]
fn one_visit_at_a_small_learning_rate_says_little_of_a_prompt() {
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 2), Rewards::new(2, count));
    let objective = flowrl(Preset::ExactTb, |o| (o.log_z, o.beta) = (LogZ::Table, 4.0));
    let mut trainer = trainer(&policy, objective, TrainOptions { log_z_learning_rate: 1e-3, ..by_pass_rate(1, 5) });
    trainer.step(&mut policy, &task).expect("a step");
    let LogZModel::Table { state, .. } = trainer.log_z() else { panic!("a table") };
    assert!(state.iter().all(|[log_z, ..]| (log_z / 4.0 - 0.5).abs() < 1e-3), "{state:?}");
}

#[test]
fn prompts_that_are_always_or_never_solved_become_rare() {
    let reward = |prompt: usize, y: &[u32], _| if prompt == 2 { f64::from(y[0]).min(1.0) } else { prompt as f64 };
    let (mut policy, task) = (Tabular::new(Cpu::reference(), 3), Rewards::new(3, reward));
    let objective = flowrl(Preset::ExactTb, |o| o.log_z = LogZ::Table);
    let mut trainer = trainer(&policy, objective, by_pass_rate(1, 200));
    let mut last = [0; 3];
    for step in 0..200 {
        let prompt = trainer.next_prompts(3)[0];
        last[prompt] += usize::from(step >= 150);
        trainer.step(&mut policy, &task).expect("a step");
    }
    assert!(last[2] > 30, "{last:?}");
}

#[test]
fn a_log_z_that_tells_no_pass_rate_is_refused() {
    let policy = Tabular::new(Cpu::reference(), 1);
    for objective in [
        flowrl(Preset::ExactTb, |_| {}),
        flowrl(Preset::ExactTb, |o| (o.log_z, o.length) = (LogZ::Table, Length::Mean)),
        flowrl(Preset::Paper, |o| o.log_z = LogZ::Table),
    ] {
        let error = Trainer::new(&policy, objective, by_pass_rate(1, 5)).expect_err("no pass rates").to_string();
        assert!(error.contains("prompt_order") && error.contains("raw rewards"), "{error}");
    }
}
