//! Tests of `--device`: the same job on the CPU and on the GPU kernels in the emulator.

use crate::common::{fails, ok, timeless};
use serde_json::Value;
use tempfile::tempdir;

const JOB: [&str; 16] = [
    "train",
    "--steps",
    "2",
    "--objective",
    "exact-tb",
    "--set",
    "train.prompts=2",
    "--set",
    "train.samples=4",
    "--set",
    "eval.prompts=2",
    "--set",
    "eval.samples=2",
    "--set",
    "eval.every=0",
    "--out",
];

/// Tests that a short run on the emulator in single precision samples the completions of the CPU and has nearly the
/// same metrics.
#[test]
fn the_emulator_trains_as_the_cpu_does() {
    let directory = tempdir().unwrap();
    let run = |name: &str, device: &str| {
        ok(&[&JOB[..], &[name, "--device", device]].concat(), directory.path());
        (timeless(&directory.path().join(name)), rollouts(&directory.path().join(name)))
    };
    let (cpu, cpu_rollouts) = run("cpu", "cpu");
    let (emulated, emulated_rollouts) = run("emulated", "emulated");
    assert_eq!(cpu_rollouts, emulated_rollouts, "completions and rewards");
    assert_eq!(cpu.len(), 3);
    for (a, b) in cpu.iter().zip(&emulated) {
        for (name, wanted) in a.as_object().unwrap() {
            // These metrics compare sampling and scoring, which agree exactly on the CPU and up to rounding on a GPU.
            if name.contains("ratio") {
                continue;
            }
            let (Some(wanted), Some(got)) = (wanted.as_f64(), b[name].as_f64()) else { continue };
            assert!((got - wanted).abs() <= 2e-3 * wanted.abs().max(1e-2), "{name}: {got}, on the CPU {wanted}");
        }
    }
    assert!(emulated[1]["first_ratio_deviation"].as_f64().unwrap() < 1e-4);
}

/// Returns tokens and reward of every completion of a run.
fn rollouts(run: &std::path::Path) -> Vec<(Value, Value)> {
    let text = std::fs::read_to_string(run.join("rollouts.jsonl")).unwrap();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (row["completion_ids"].clone(), row["reward"].clone())
    };
    text.lines().map(row).collect()
}

#[test]
fn a_run_on_the_emulator_resumes_to_the_same_bits() {
    let directory = tempdir().unwrap();
    let path = directory.path();
    let emulated = ["whole", "--device", "emulated", "--precision", "bf16"];
    let few = ["train.prompts=1", "train.samples=2", "sampling.max_tokens=4", "eval.prompts=1", "run.save_every=1"];
    ok(&[&JOB[..], &emulated, &few.map(|option| ["--set", option]).concat()].concat(), path);
    // Without its last checkpoint, the run is as if the program had stopped after the first step.
    crate::common::copy_folder(&path.join("whole"), &path.join("parts"));
    std::fs::remove_dir_all(crate::common::checkpoint(&path.join("parts"), 2)).unwrap();
    ok(&["train", "--out", "parts", "--resume"], path);
    crate::common::assert_same_run(&path.join("whole"), &path.join("parts"), 2);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let directory = tempdir().unwrap();
    let error = fails(&["train", "--device", "gpu"], directory.path());
    assert!(error.contains("expected cpu, cuda, cuda:N"), "{error}");
    let error = fails(&["train", "--set", "train.precision=bf16"], directory.path());
    assert!(error.contains("train.precision"), "{error}");
    let error = fails(&["train", "--task", "bandit", "--device", "cuda"], directory.path());
    assert!(error.contains("`train.device` belongs to countdown, prompts"), "{error}");
    assert!(!directory.path().join("runs").exists(), "a run that cannot start leaves no folder");
}
