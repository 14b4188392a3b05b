//! Tests that errors suggest a remedy, and that the program follows the conventions of the command line.

use std::io::Write;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::common::{fails, ok, program, run};

/// Runs a command with wrong flags or configuration, and returns its standard error.
fn misused(words: &[&str], directory: &Path) -> String {
    let output = run(words, directory);
    assert_eq!(output.status.code(), Some(2), "{words:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn fed(words: &[&str], input: &str, directory: &Path) -> Output {
    let mut command = program(words, directory);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_mistyped_name_is_guessed() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let cases = [
        (&["--set", "beat=3"][..], "unknown option `beat` (did you mean `beta`?)"),
        (&["--set", "train.step=3"], "unknown option `train.step` (did you mean `steps`?)"),
        (&["--set", "trian.steps=3"], "unknown section [trian] (did you mean `train`?)"),
        (&["--objective", "grop"], "unknown objective `grop` (did you mean `grpo`?)"),
        (&["--device", "gpu"], "unknown device `gpu`"),
        (&["--set", "run.patience=3"], "run.best names no metric"),
        (&["--set", "temperature=-1"], "temperature"),
        (&["--set", "run.patience=3", "--dry-run"], "run.best names no metric"),
    ];
    for (words, wanted) in cases {
        let said = misused(&[&["train"], words].concat(), d);
        assert!(said.contains(wanted), "{words:?}: {said}");
    }
    assert!(misused(&["sweep", "--task", "bandit"], d).contains("--set beta="));
    assert!(!d.join("runs").exists());
}

#[test]
fn a_wrong_key_in_a_file_has_its_line_and_what_this_task_knows() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    std::fs::write(d.join("a.toml"), "[task]\nkind = \"countdown\"\n\n[train]\nstep = 3\n").unwrap();
    let said = misused(&["train", "--config", "a.toml"], d);
    assert!(said.contains("a.toml:5: unknown option `train.step` (did you mean `steps`?)"), "{said}");
    // `batch` is a key of the lab only.
    assert!(said.contains(" samples,") && !said.contains(" batch,"), "{said}");
    std::fs::write(d.join("b.toml"), "[train]\nsteps = \"many\"\n").unwrap();
    let said = misused(&["train", "--config", "b.toml"], d);
    assert!(said.contains("in b.toml") && said.contains("line 2") && !said.ends_with("\n\n"), "{said}");
    std::fs::write(d.join("c.toml"), "\n[lr]\nx = 1\n").unwrap();
    assert!(misused(&["train", "--config", "c.toml"], d).contains("c.toml:2: unknown section [lr]"));
}

#[test]
fn standard_input_is_read_where_a_file_is() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let output = fed(&["train", "--config", "-", "--dry-run"], "[train]\nsteps = 7\n", d);
    assert!(String::from_utf8_lossy(&output.stdout).contains("steps = 7"), "{output:?}");
    let output = fed(&["train", "--config", "-"], "[train]\nstep = 7\n", d);
    assert!(String::from_utf8_lossy(&output.stderr).contains("standard input:2: "), "{output:?}");
    let batch = r#"{"objective": {"kind": "reinforce"}, "sequences": [
        {"group": 0, "reward": 1, "logp": [-0.5]}, {"group": 0, "reward": 0, "logp": [-1.0]}]}"#;
    let output = fed(&["loss", "-"], batch, d);
    assert!(output.status.success(), "{output:?}");
    std::fs::write(d.join("batch.json"), batch).unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), ok(&["loss", "batch.json"], d));
    assert!(String::from_utf8_lossy(&fed(&["loss", "-"], "{", d).stderr).contains("in standard input"));
}

#[test]
fn the_small_model_scores_too() {
    let directory = tempfile::tempdir().unwrap();
    let row = r#"{"prompt": "3 5 7 = 22 : ", "completion": "3*5+7"}"#;
    let output = fed(&["score", "--input", "-"], row, directory.path());
    let scored: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(scored["log_probs"].as_array().unwrap().iter().all(|x| x.as_f64().unwrap() < 0.0), "{scored}");
}

#[test]
fn a_dry_run_refuses_the_directory_that_the_run_would() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("taken"), "").unwrap();
    std::fs::create_dir(directory.path().join("full")).unwrap();
    std::fs::write(directory.path().join("full/thesis.tex"), "").unwrap();
    for out in ["taken", "full"] {
        let words = ["train", "--task", "bandit", "--out", out];
        let said = fails(&[&words[..], &["--dry-run"]].concat(), directory.path());
        assert_eq!(said, fails(&words, directory.path()));
    }
}

#[test]
fn low_rewards_are_not_preferred_by_accident() {
    let directory = tempfile::tempdir().unwrap();
    let said = misused(&["train", "--set", "beta=-1"], directory.path());
    assert!(said.contains("beta") && said.contains("at least 0"), "{said}");
}

#[test]
fn the_version_says_what_was_built() {
    let directory = tempfile::tempdir().unwrap();
    let long = ok(&["--version"], directory.path());
    let first = format!("flowrl-cli {}", env!("CARGO_PKG_VERSION"));
    assert!(long.starts_with(&first) && long.contains("\ntarget: ") && long.contains("\nfeatures: "), "{long}");
    assert_eq!(ok(&["-V"], directory.path()).trim_end(), first);
}

#[test]
fn the_doctor_knows_that_a_cpu_trains() {
    let directory = tempfile::tempdir().unwrap();
    let said = run(&["doctor"], directory.path()).stdout;
    let said = String::from_utf8_lossy(&said);
    assert!(said.starts_with("CPU ") && said.contains("trains (--device cpu"), "{said}");
}
