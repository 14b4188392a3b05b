//! A table of log Z, one number for each prompt, and a frozen log Z.

use flowrl_core::objective::{Length, LogZ, Preset};
use flowrl_core::train::LogZModel;

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
