//! Tests of landscapes, of the reference arithmetic, and of settings that a task refuses.

use flowrl_cli::config::Config;
use flowrl_core::backend::CpuBackend;
use flowrl_core::train::Trainer;
use flowrl_lab::{HeadOptions, LabPolicy, LabTask, Landscape, LandscapeOptions, MlpOptions};
use serde_json::Value;

use super::{number, records};
use crate::common::{fails, ok};

#[test]
fn a_landscape_is_drawn_as_a_square_with_its_rewards_and_its_reference() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    // The reference gives one of two answers with the same reward four times the weight of the other.
    let settings = ["--set", "side=2", "--set", "rewards=[0, 1, 1, 0]", "--set", "reference_weights=[1, 4, 1, 4]"];
    let draw = ["--set", "beta=3", "--out", "drawn"];
    ok(&[&["train", "--task", "landscape"][..], &settings, &draw].concat(), d);
    let picture: Value =
        serde_json::from_str(&std::fs::read_to_string(d.join("drawn/distribution.json")).unwrap()).unwrap();
    assert_eq!((&picture["picture"], &picture["rows"], &picture["columns"]), (&"heat".into(), &2.into(), &2.into()));
    let e = 3.0_f64.exp();
    for (i, weight) in [1.0, 4.0 * e, e, 4.0].into_iter().enumerate() {
        let share = weight / (5.0 + 5.0 * e);
        let cell = |which: &str| picture[which][i].as_f64().unwrap();
        assert!((cell("target") - share).abs() < 1e-9, "{i}: {picture}");
        assert!((cell("learned") - share).abs() < 0.002, "{i}: {picture}");
    }
    let html = std::fs::read_to_string(d.join("drawn/report.html")).unwrap();
    assert!(html.contains("Heat map: Learned, 2 by 2") && html.contains("Heat map: Target, 2 by 2"));
    let rollouts = std::fs::read_to_string(d.join("drawn/rollouts.jsonl")).unwrap();
    let row: Value = serde_json::from_str(rollouts.lines().next().unwrap()).unwrap();
    let (actions, object) = (&row["completion_ids"], row["completion"].as_str().unwrap());
    assert_eq!(object, format!("({}, {})", actions[0], actions[1]));
    // A preset's rewards can be combined with other reference weights, and the resolved configuration has both lists.
    let weights = format!("reference_weights={:?}", (1..=64).collect::<Vec<_>>());
    let settings = ["--set", "side=8", "--set", "task.preset=ring", "--set", &weights, "--dry-run"];
    let first = ok(&[&["train", "--task", "landscape"][..], &settings].concat(), d);
    assert!(first.contains("preset = \"ring\"") && first.contains("64.0,"), "{first}");
    std::fs::write(d.join("c.toml"), &first).unwrap();
    assert_eq!(ok(&["train", "--dry-run", "--config", "c.toml"], d), first);
}

#[test]
fn landscapes_are_swept_and_compared() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let sweep = ["sweep", "--task", "landscape", "--set", "side=8", "--set", "beta=2,6", "--out", "s", "--json"];
    let found: Value = serde_json::from_str(&ok(&sweep, d)).unwrap();
    for run in found["runs"].as_array().unwrap() {
        assert!(number(&run["metrics"], "tv") < 0.003, "{run}");
    }
    let text = ok(&["compare", "s/beta=2-seed0", "s/beta=6-seed0", "--json", "--out", "c.html"], d);
    let found: Value = serde_json::from_str(&text).unwrap();
    assert!(found["notes"].to_string().contains("its own target"), "two values of β are two targets: {text}");
}

/// Tests that the program can compute with the core's `CpuBackend::reference()`. A browser computes with this backend
/// too, and `cargo xtask test --only wasm` compares its bits.
#[test]
fn the_reference_arithmetic_gives_the_bits_of_the_core() {
    let directory = tempfile::tempdir().unwrap();
    let settings = ["task.kind=landscape", "policy.kind=mlp", "width=32", "every=1", "arithmetic=reference"];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    ok(&[&["train", "--steps", "12", "--out", "plain"][..], &arguments].concat(), directory.path());
    let fast = [&["train", "--steps", "12", "--out", "fast"][..], &arguments[..8]].concat();
    ok(&fast, directory.path());
    let losses = |run: &str| -> Vec<u64> {
        let records = records(&directory.path().join(run));
        records[1..].iter().map(|record| number(record, "loss").to_bits()).collect()
    };

    let settings = [&settings[..], &["steps=12"]].concat();
    let mut config = Config::load(None, &settings).unwrap();
    flowrl_cli::lab::task(&mut config).unwrap();
    let landscape = Landscape::preset(LandscapeOptions::default()).unwrap();
    let (mlp, heads) = (MlpOptions { width: 32, layers: 2 }, HeadOptions::default());
    let mut policy = LabPolicy::mlp(CpuBackend::<f32>::reference(), landscape.clone(), mlp, heads, 0).unwrap();
    let (objective, options) = (config.objective().unwrap(), config.train_options().unwrap());
    let mut trainer = Trainer::new(&policy, objective, options).unwrap();
    let task = LabTask::new(landscape);
    let step = |_| {
        let (_, metrics) = trainer.step(&mut policy, &task).unwrap();
        metrics.into_iter().find(|(name, _)| *name == "loss").unwrap().1.to_bits()
    };
    let core: Vec<u64> = (0..12).map(step).collect();
    assert_eq!(losses("plain"), core);
    assert_ne!(losses("fast"), core, "the fast path rounds otherwise: the setting would say nothing");
}

#[test]
fn several_epochs_learn_more_from_the_same_trajectories() {
    let directory = tempfile::tempdir().unwrap();
    let reward = |epochs: &str| {
        let epochs = format!("train.epochs={epochs}");
        let arguments = ["train", "--task", "landscape", "--objective", "ppo", "--steps", "40", "--json", "--set"];
        let text = ok(&[&arguments[..], &[&epochs, "--out", &epochs]].concat(), directory.path());
        let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        assert_eq!(number(&last, "trajectories"), 40.0 * 128.0);
        // With several epochs, the policy differs from the one that sampled after the first update.
        assert_eq!(number(&last, "old_log_ratio_max") > 0.0, epochs != "train.epochs=1", "{last}");
        assert_eq!(number(&last, "first_ratio_deviation"), 0.0);
        number(&last, "expected_reward")
    };
    let (one, four) = (reward("1"), reward("4"));
    assert!(four > one + 0.05, "one epoch {one}, four {four}");
}

#[test]
fn what_a_task_cannot_be_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let weights = |odd: &str| format!("reference_weights=[1, 2, {odd}, 3]");
    let (zero, negative, nan) = (weights("0"), weights("-0.5"), weights("nan"));
    let drawn = ["--task", "landscape", "--set", "side=2", "--set", "rewards=[0, 1, 1, 0.5]", "--set"];
    let drawn = |setting: &'static str| [&drawn[..], &[setting]].concat();
    let weighted = |setting| {
        [&["--task", "landscape", "--set", "side=2", "--set", "rewards=[0, 1, 1, 0]", "--set"][..], &[setting]].concat()
    };
    for (arguments, wanted) in [
        (
            vec!["--task", "bandit", "--set", "task.preset=peak"],
            &["task.preset is `peak`", "bandit", "`two-peaks`"][..],
        ),
        (
            vec!["--task", "bandit", "--set", "task.preset=banana"],
            &["task.preset is `banana`", "bandit", "`two-peaks`"],
        ),
        (vec!["--task", "landscape", "--set", "task.preset=peak"], &["task.preset is `peak`", "landscape", "`banana`"]),
        (vec!["--task", "landscape", "--set", "side=7"], &["`side` is 7", "at least 8 for a preset"]),
        (vec!["--task", "landscape", "--set", "rewards=[1, 0]"], &["side 16", "`rewards` has 2 elements", "256"]),
        (drawn("rewards=[0, 1, nan, 1]"), &["`rewards[2]` is NaN"]),
        (drawn("reference_weights=[1]"), &["`reference_weights` has 1 elements", "4"]),
        (weighted(&zero), &["`reference_weights[2]` is 0", "above 0"]),
        (weighted(&negative), &["`reference_weights[2]` is -0.5", "above 0"]),
        (weighted(&nan), &["`reference_weights[2]` is NaN", "above 0"]),
        (drawn("size=4"), &["task.size", "belongs to bandit", "task is landscape"]),
        (vec!["--task", "bandit", "--set", "arithmetic=exact"], &["arithmetic", "`fast` or `reference`"]),
        (vec!["--set", "arithmetic=reference"], &["train.arithmetic", "landscape", "task is countdown"]),
        (
            vec!["--task", "bandit", "--set", "arithmetic=reference", "--threads", "2"],
            &["train.threads is 2, but must be 1", "train.arithmetic"],
        ),
    ] {
        let error = fails(&[&["train"][..], &arguments, &["--out", "x"]].concat(), directory.path());
        assert!(wanted.iter().all(|word| error.contains(word)), "{arguments:?}: {error}");
    }
    assert!(!directory.path().join("x").exists(), "nothing is written for a mistake");
}
