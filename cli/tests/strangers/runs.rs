//! Runs, evaluations and sweeps of models as users have them.

use serde_json::{Value, json};
use tempfile::tempdir;

use super::model::Model;
use super::{IDS, file, score};
use crate::common::{fails, ok, run};

#[test]
fn a_text_may_end_a_completion() {
    let model = Model::of("qwen2-tied");
    let words =
        ["sample", "--model", model.name(), "--prompt", "3 5 = 8", "--max-tokens", "48", "--samples", "60", "--json"];
    let rows = |more: &[&str]| -> Vec<Value> {
        let text = ok(&[&words[..], more].concat(), &std::env::temp_dir());
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let (free, stopped) = (rows(&[]), rows(&["--stop", "e", "--stop", "th"]));
    let mut ended = 0;
    for (free, stopped) in free.iter().zip(&stopped) {
        let [text, whole] = [stopped, free].map(|row| row["completion"].as_str().unwrap());
        assert!(!text.contains('e') && !text.contains("th"), "{text}");
        let cut = [whole.find('e'), whole.find("th")].into_iter().flatten().min();
        assert_eq!(text, &whole[..cut.unwrap_or(whole.len())]);
        if cut.is_some() {
            ended += 1;
            assert_eq!(stopped["ended"], true);
            let ids = |row: &Value| row["completion_ids"].as_array().unwrap().clone();
            assert!(ids(free).starts_with(&ids(stopped)));
        }
    }
    assert!(ended > 10, "{ended} of 60");
    // A special token has no text in the completion, but `--stop` may name it.
    let by_token = rows(&["--stop", "<|im_start|>"]);
    assert!(by_token.iter().any(|row| row["completion_ids"].as_array().unwrap().last() == Some(&json!(1))));
    for (free, stopped) in free.iter().zip(&by_token) {
        let [whole, ids] = [free, stopped].map(|row| row["completion_ids"].as_array().unwrap());
        let end = whole.iter().position(|id| *id == json!(1)).map_or(whole.len(), |at| at + 1);
        assert_eq!(ids[..], whole[..end]);
    }
}

#[test]
fn exact_measures_are_not_of_completions_that_a_text_ends() {
    let words = ["eval", "--set", "eval.prompts=2", "--set", "eval.samples=2"];
    let measured = |more: &[&str]| run(&[&words[..], more].concat(), &std::env::temp_dir());
    let (free, stopped) = (measured(&[]), measured(&["--stop", "7"]));
    assert!(String::from_utf8_lossy(&free.stdout).contains("eval_success_exact"));
    let [out, said] = [&stopped.stdout, &stopped.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(out.contains("eval_success") && !out.contains("exact"), "{out}");
    assert!(said.contains("exact measures of Countdown are left out"), "{said}");
}

#[test]
fn a_run_is_a_model_and_a_model_is_measured_on_the_whole_file() {
    let model = Model::of("qwen2-tied");
    let rows: String =
        (1..=12).map(|i| format!("{{\"prompt\": \"What is {i} + {i}?\", \"answer\": {}}}\n", 2 * i)).collect();
    let (folder, path) = file("p.jsonl", rows);
    let d = folder.path();
    let measured = |words: &[&str]| -> Value { serde_json::from_str(&ok(&[words, &["--json"]].concat(), d)).unwrap() };
    let task = ["--prompts", path.to_str().unwrap(), "--verifier", "number", "--max-tokens", "4"];
    let found = measured(&[&["eval", model.name()], &task[..]].concat());
    assert_eq!((&found["prompts"], &found["samples"]), (&json!(12), &json!(4)));
    assert!(found["standard_errors"]["eval_success"].is_number() && found["eval_pass_at_4"].is_number());
    let text = ok(&[&["eval", model.name()], &task[..]].concat(), d);
    assert!(text.starts_with("12 prompts, 4 completions of each\n") && text.contains(" ± "), "{text}");
    std::fs::write(d.join("c.toml"), "[eval]\nprompts = 3\n").unwrap();
    assert_eq!(measured(&[&["eval", model.name(), "--config", "c.toml"], &task[..]].concat())["prompts"], 3);
    // `eval` of a run uses its verifier and the prompts that it held out. A run's checkpoint can stand for a model
    // anywhere.
    let train = ["train", "--model", model.name(), "--steps", "1", "--out", "run", "--set", "eval.prompts=2"];
    ok(&[&train[..], &task].concat(), d);
    assert_eq!(measured(&["eval", "run"])["prompts"], 2);
    let reference = measured(&["eval", "run", "--reference", model.name()]);
    assert_eq!(reference["eval_success"], measured(&["eval", "run"])["eval_success"]);
    assert_eq!(measured(&["eval", "run/checkpoints/step-000001"])["prompts"], 2);
    assert_eq!(measured(&[&["eval", "run"], &task[..]].concat())["prompts"], 12);
    ok(&["sample", "--model", "run", "--prompt", "1", "--max-tokens", "2"], d);
    let (ids, log_probs, _) = score(&d.join("run"), &json!({"ids": IDS, "prompt_len": 2}));
    assert_eq!((ids.len(), log_probs.len()), (15, 13));
    let text = ok(&[&["train", "--dry-run", "--model", "run"], &task[..]].concat(), d);
    assert!(text.contains("run/checkpoints/step-000001"), "{text}");
    // The reference of a run is the model it started from, and this holds for the built-in model too.
    let small =
        ["--set", "train.prompts=2", "--set", "train.samples=4", "--set", "eval.prompts=2", "--set", "eval.samples=2"];
    let rate = ["--learning-rate", "1e-3", "--steps", "2", "--out", "built-in", "--set", "warmup=0"];
    ok(&[&["train"], &small[..], &rate].concat(), d);
    let found = measured(&["eval", "built-in"]);
    let records = crate::common::timeless(&d.join("built-in"));
    for name in ["eval_success_ref", "eval_success_exact", "eval_kl_on_correct"] {
        assert_eq!(found[name], records[2][name], "{name}");
    }
    assert_ne!(found["eval_success_ref"], found["eval_success_exact"]);
    let error = fails(&["eval", "--set", "eval.prompts=0"], d);
    assert!(error.contains("nothing to measure"), "{error}");
    let found = measured(&["eval", "--set", "eval.prompts=2", "--set", "eval.samples=2"]);
    assert!(found["eval_success_exact"].is_number());
}

#[test]
fn a_sweep_goes_on_with_what_was_chosen_for_the_memory_of_another_day() {
    let model = Model::of("qwen2-tied");
    let (folder, path) = file("p.jsonl", "{\"prompt\": \"1 + 1?\", \"answer\": 2}\n".repeat(2));
    let d = folder.path();
    let task = ["--model", model.name(), "--prompts", path.to_str().unwrap(), "--verifier", "number"];
    let small = ["--max-tokens", "2", "--steps", "1", "--samples", "2", "--set", "eval.prompts=0", "--out", "s"];
    let sweep = [&["sweep", "--set", "optimizer.learning_rate=1e-6,1e-5"][..], &task, &small].concat();
    let text = ok(&sweep, d);
    let config = d.join("s/learning_rate=1e-6-seed0/config.toml");
    let written = std::fs::read_to_string(&config).unwrap();
    let cut = written.replace("micro_batch = 0", "micro_batch = 1").replace("recompute = false", "recompute = true");
    assert_ne!(cut, written);
    std::fs::write(&config, &cut).unwrap();
    assert_eq!(ok(&sweep, d), text);
    assert_eq!(std::fs::read_to_string(&config).unwrap(), cut);
}

#[test]
fn another_objective_takes_its_own_options() {
    let folder = tempdir().unwrap();
    let d = folder.path();
    let first = ok(&["train", "--dry-run"], d);
    std::fs::write(d.join("c.toml"), &first).unwrap();
    for objective in ["exact-tb", "grpo"] {
        let output = run(&["train", "--dry-run", "--config", "c.toml", "--objective", objective], d);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.contains("replaces that of the configuration file"), "{said}");
        assert_eq!(String::from_utf8(output.stdout).unwrap(), ok(&["train", "--dry-run", "--objective", objective], d));
    }
    // The options are kept if the objective is the same, and options from the command line always apply.
    let text = ok(&["train", "--dry-run", "--config", "c.toml", "--objective", "paper", "--set", "beta=3"], d);
    assert!(text.contains("beta = 3.0"), "{text}");
    let text = ok(&["train", "--dry-run", "--config", "c.toml", "--set", "beta=3", "--objective", "exact-tb"], d);
    assert!(text.contains("beta = 3.0") && text.contains("preset = \"exact-tb\""), "{text}");
}

#[test]
fn what_teaches_nothing_is_told_once() {
    let model = Model::of("qwen2-tied");
    let rows: String =
        (1..=4).map(|i| format!("{{\"prompt\": \"What is {i} + {i}?\", \"answer\": 99999}}\n")).collect();
    let (folder, path) = file("p.jsonl", rows);
    let words = ["train", "--model", model.name(), "--prompts", path.to_str().unwrap(), "--objective", "grpo"];
    let few = ["--steps", "12", "--max-tokens", "3", "--samples", "2", "--set", "eval.prompts=0", "--set", "kl=0"];
    let output = run(&[&words[..], &few].concat(), folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    for wanted in
        ["judged by `exact`", "sampling ", "a step takes", "were cut off", "for 3 steps", "exactly 0", "in 10 steps"]
    {
        assert_eq!(said.matches(wanted).count(), 1, "{wanted}: {said}");
    }
    let output = run(&["train", "--dry-run", "--verifier", "number"], folder.path());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("--verifier is ignored"), "{said}");
}
