//! Tests of other sources for the completions of a step: several batches, or the inference engine of another program.

use std::path::Path;

use serde_json::{Value, json};

use crate::common::{TEXT, assert_described, assert_same_run, copy_folder, fails, ok, program, run, timeless};

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out, "--objective", "grpo"][..], &TEXT, more].concat()
}

fn rows(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("rollouts.jsonl")).unwrap();
    let all = text.lines().map(|line| serde_json::from_str(line).unwrap());
    all.filter(|row: &Value| row["held_out"] != true).collect()
}

#[test]
fn a_run_that_samples_until_groups_differ_resumes_to_the_same_bits() {
    let directory = tempfile::tempdir().unwrap();
    let more = ["--steps", "4", "--set", "train.dynamic_sampling=3", "--set", "save_every=2"];
    let said = run(&train("whole", &more), directory.path());
    let said = String::from_utf8(said.stderr).unwrap();
    let whole = directory.path().join("whole");
    let records = timeless(&whole);
    let sum = |name: &str| records.iter().filter_map(|record| record[name].as_f64()).sum::<f64>();
    let (sampled, learned) = (sum("sampled_groups"), sum("learned_groups"));
    assert!(sampled > 8.0 && learned < 8.0, "it resamples, and reaches its bound: {records:?}");
    assert_eq!(said.matches("(train.dynamic_sampling)").count(), 1, "{said}");
    assert_eq!(rows(&whole).len() as f64, 2.0 * sampled, "what was sampled is recorded");
    assert_described(&whole);
    copy_folder(&whole, &directory.path().join("again"));
    let resumed = ["train", "--out", "again", "--resume-from", "step-000002"];
    ok(&resumed, directory.path());
    assert_same_run(&whole, &directory.path().join("again"), 4);
}

#[cfg(unix)]
#[test]
fn a_signal_ends_the_search_for_groups_that_differ() {
    use std::io::{BufRead, BufReader};
    let directory = tempfile::tempdir().unwrap();
    let prompts = (0..8).map(|i| format!("{{\"prompt\": \"{i} 1 = {i} : \", \"answer\": \"no such answer\"}}\n"));
    std::fs::write(directory.path().join("p.jsonl"), prompts.collect::<String>()).unwrap();
    let words = ["train", "--out", "run", "--prompts", "p.jsonl", "--verifier", "exact", "--max-tokens", "4"];
    let more = ["--set", "train.dynamic_sampling=1000000", "--set", "eval.prompts=0", "--steps", "1"];
    let mut command = program(&[&words[..], &more].concat(), directory.path());
    let mut child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("sampling ")), "the first batch was sampled");
    let kill = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
    let rest: Vec<String> = said.collect();
    assert_eq!(child.wait().unwrap().code(), Some(143), "{rest:?}");
    assert!(rest.iter().any(|line| line.contains("stopped the run at step 0 of 1")), "{rest:?}");
}

#[test]
fn stored_log_probabilities_are_those_of_the_engine_that_sampled() {
    let directory = tempfile::tempdir().unwrap();
    ok(&train("source", &["--steps", "1", "--set", "train.samples=6"]), directory.path());
    let mut rows = rows(&directory.path().join("source"));
    for row in &mut rows {
        let log_probs: Vec<f64> = row["old_logp"].as_array().unwrap().iter().map(|l| l.as_f64().unwrap()).collect();
        row["old_logp"] = log_probs.iter().map(|l| l - 0.25).collect();
    }
    let learn = |name: &str, rows: &[Value], more: &[&str]| {
        let file = format!("{name}.jsonl");
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        std::fs::write(directory.path().join(&file), text).unwrap();
        let words = ["--steps", "1", "--rollouts", &file, "--set", "objective.kl=0"];
        let output = run(&train(name, &[&words[..], more].concat()), directory.path());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let run = directory.path().join(name);
        assert_described(&run);
        (timeless(&run).pop().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let number = |record: &Value, name: &str| record[name].as_f64().unwrap_or_else(|| panic!("no {name}: {record}"));
    let correct = ["--set", "objective.rollout_correction=token-truncate"];
    let (plain, said) = learn("plain", &rows, &[]);
    assert!(plain["rollout_drift"].is_null() && !said.contains("rollout weights"), "{said}");
    assert!((number(&plain, "first_ratio_deviation") - 0.25).abs() < 1e-4, "old_logp is the old policy's");
    let (corrected, said) = learn("corrected", &rows, &correct);
    assert_eq!(corrected["first_ratio_deviation"], 0, "the old policy is this one");
    assert!((number(&corrected, "rollout_drift") - 0.25).abs() < 1e-4);
    assert!(said.contains("e^0.25 on average") && !said.contains("`old_logp`"), "{said}");
    // Every weight is e^0.25, and so is the factor of the gradient.
    let bounded = [&correct[..], &["--set", "objective.rollout_max=1"]].concat();
    let (bounded, _) = learn("bounded", &rows, &bounded);
    let ratio = number(&corrected, "grad_norm") / number(&bounded, "grad_norm");
    assert!((ratio - 0.25_f64.exp()).abs() < 1e-3, "{ratio}");
    assert_eq!([&corrected, &bounded].map(|record| number(record, "rollout_clip_fraction")), [0.0, 1.0]);
    // Without `old_logp` the weights are 1, as they are for completions that the run samples itself.
    rows.iter_mut().skip(1).for_each(|row| row["old_logp"] = json!(null));
    let (_, said) = learn("without", &rows, &correct);
    assert!(
        said.contains(&format!("{} of {} stored completions have no `old_logp`", rows.len() - 1, rows.len())),
        "{said}"
    );
    let own = run(&train("own", &[&["--steps", "1"][..], &correct].concat()), directory.path());
    assert!(String::from_utf8(own.stderr).unwrap().contains("all rollout weights are 1"));
    let both = ["--rollouts", "plain.jsonl", "--set", "train.dynamic_sampling=1"];
    assert!(fails(&train("both", &both), directory.path()).contains("must be 0 with train.rollouts"));
}
