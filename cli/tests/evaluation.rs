//! Evaluations on named sets of prompts, greedy ones, and those that leave completions out.

use std::path::Path;

use serde_json::Value;

use crate::common::{TEXT, assert_described, assert_same_run, fails, kill_and_resume, ok, run, timeless};

/// Writes the prompts of two sets, and a copy of the first.
fn prepare(folder: &Path) {
    let write = |name: &str, prompts: &[&str]| {
        let rows = prompts.iter().map(|prompt| format!("{}\n", serde_json::json!({"prompt": prompt})));
        std::fs::write(folder.join(name), rows.collect::<String>()).unwrap();
    };
    write("easy.jsonl", &["1 2 3 = 6 : ", "2 2 5 = 9 : ", "4 3 2 = 24 : "]);
    write("hard.jsonl", &["7 8 9 = 65 : ", "1 5 9 = 46 : "]);
}

const SETS: [&str; 4] = ["--eval", "easy=easy.jsonl", "--eval", "hard-1=hard.jsonl"];

fn json(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Returns the metrics of a record without the set's name.
fn of_set(record: &Value, set: &str) -> Vec<(String, Value)> {
    let own = |(name, value): (&String, &Value)| {
        let rest = name.strip_prefix(&format!("eval_{set}_"))?;
        Some((format!("eval_{rest}"), value.clone()))
    };
    record.as_object().unwrap().iter().filter_map(own).collect()
}

#[test]
fn a_run_measures_two_sets_and_keeps_the_best_of_one() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    prepare(d);
    let more = ["--steps", "3", "--learning-rate", "0.01", "--set", "eval.every=1", "--set", "eval.prompts=3"];
    let train = [&["train"][..], &TEXT, &more, &SETS, &["--set", "eval.greedy=true"]].concat();
    let best = ["--set", "run.best=hard-1_kl_on_correct", "--out", "run"];
    let text = ok(&[&train[..], &best].concat(), d);
    for wanted in ["\non easy ", "on hard-1 ", "of 3 prompts with 2 completions each, 6 in all", "success, greedy"] {
        assert!(format!("\n{text}").to_lowercase().contains(wanted), "{wanted}: {text}");
    }
    let whole = d.join("run");
    assert_described(&whole);
    let records = timeless(&whole);
    assert!(records.iter().all(|record| record.get("eval_success").is_none()), "named sets take the place of others");
    let lost = |record: &Value| record["eval_hard-1_kl_on_correct"].as_f64().unwrap();
    let least = records[1..].iter().min_by(|a, b| lost(a).total_cmp(&lost(b))).unwrap();
    let line = format!("best checkpoint: step {}, eval_hard-1_kl_on_correct ", least["step"]);
    assert!(text.contains(&line) && d.join("run/config.toml").is_file(), "{text}");

    let rollouts = std::fs::read_to_string(whole.join("rollouts.jsonl")).unwrap();
    let rows: Vec<Value> = rollouts.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |step: u64, set: &str, greedy: bool| {
        let is_greedy = |row: &Value| row.get("greedy").is_some_and(|flag| flag == true);
        rows.iter()
            .filter(|row| {
                row["step"] == step && row["set"] == set && row["held_out"] == true && is_greedy(row) == greedy
            })
            .count()
    };
    assert_eq!([count(3, "easy", false), count(3, "hard-1", false)], [6, 4]);
    assert_eq!([count(0, "easy", true), count(3, "hard-1", true)], [3, 2]);
    assert!(rows.iter().any(|row| row.get("set").is_none() && row.get("held_out").is_none()), "rows of the steps");

    let page = std::fs::read_to_string(whole.join("report.html")).unwrap();
    for wanted in [
        "3 prompts of easy with 2 completions each; 2 prompts of hard-1 with 2",
        "Success, exact (hard-1)",
        "Success, exact · Success, sampled · Success, greedy · Majority vote (easy)",
        "<code>eval_easy_pass_at_2</code>",
        "prompts of easy, sampled at step 3",
    ] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(!page.contains("Other metrics"), "every metric has a description");

    // `eval` repeats the last evaluation of the run, from its configuration.
    let found = json(&ok(&["eval", "run", "--json", "--reference", "run/checkpoints/step-000003"], d));
    for set in ["easy", "hard-1"] {
        for name in ["eval_success", "eval_success_exact", "eval_success_greedy", "eval_pass_at_2", "eval_majority"] {
            let recorded = of_set(&records[3], set).into_iter().find(|(other, _)| other == name);
            let found = found["sets"][set][name].as_f64();
            assert!(
                found.is_some() && found == recorded.and_then(|(_, value)| value.as_f64()),
                "{set}: {name} {found:?}"
            );
        }
    }
    let compared = json(&ok(&["compare", "run", "--json"], d));
    let last = &compared["groups"][0]["metrics"]["eval_hard-1_kl_on_correct"]["after"]["mean"];
    assert_eq!(last.as_f64(), Some(lost(&records[3])));

    // The same bits after any interruption.
    kill_and_resume(&[&train[..], &best[..2]].concat(), "killed", &[60, 150, 100], d);
    assert_same_run(&whole, &d.join("killed"), 3);
}

#[test]
fn a_set_measures_what_held_out_prompts_do() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    prepare(d);
    let train = ["train", "--prompts", "hard.jsonl", "--verifier", "countdown", "--held-out", "easy.jsonl"];
    ok(&[&train[..], &TEXT[..8], &SETS, &["--steps", "1", "--max-tokens", "10", "--out", "run"]].concat(), d);
    for record in timeless(&d.join("run")) {
        let is_unnamed = |name: &str| name.starts_with("eval_") && !name.contains("easy") && !name.contains("hard");
        let fields = record.as_object().unwrap().iter().filter(|(name, _)| is_unnamed(name));
        let held_out: Vec<(String, Value)> = fields.map(|(name, value)| (name.clone(), value.clone())).collect();
        assert!(held_out.len() > 10 && held_out == of_set(&record, "easy"), "{record}");
    }
    // Without held-out prompts, every prompt is trained on.
    let text = ok(&[&train[..5], &SETS, &["--max-tokens", "10", "--dry-run"]].concat(), d);
    assert!(text.contains("# prompts: 2 to train on, 3 of easy to measure on, 2 of hard-1 to measure on"), "{text}");
}

#[test]
fn greedy_completions_do_not_depend_on_the_seed() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    let words = ["eval", "--json", "--set", "eval.prompts=48", "--set", "eval.samples=2"];
    let measured = |more: &[&str]| json(&ok(&[&words[..], more].concat(), d));
    let (a, b) = (measured(&["--greedy", "--seed", "1"]), measured(&["--greedy", "--seed", "2"]));
    let of = |found: &Value, name: &str| found[name].as_f64().unwrap_or_else(|| panic!("no {name} in {found}"));
    assert_eq!(of(&a, "eval_success_greedy"), of(&b, "eval_success_greedy"));
    assert_ne!(of(&a, "eval_success"), of(&b, "eval_success"), "samples depend on it");
    assert!(of(&a["standard_errors"], "eval_success_greedy") > 0.0);
    // Sampling from the most probable token alone gives this, and nothing else changes.
    let sure = measured(&["--set", "top_k=1"]);
    assert_eq!(of(&sure, "eval_success"), of(&a, "eval_success_greedy"));
    let plain = measured(&["--seed", "1"]);
    assert!(plain.get("eval_success_greedy").is_none());
    assert_eq!(of(&plain, "eval_pass_at_2"), of(&a, "eval_pass_at_2"));
}

#[test]
fn pass_at_128_needs_as_many_samples() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    prepare(d);
    let words = ["eval", "--eval", "easy=easy.jsonl", "--verifier", "countdown", "--max-tokens", "10", "--json"];
    let found = &json(&ok(&[&words[..], &["--set", "eval.samples=130"]].concat(), d))["sets"]["easy"];
    let mut last = 0.0;
    for k in [1, 2, 4, 8, 16, 32, 64, 128] {
        let pass = found[format!("eval_pass_at_{k}")].as_f64().unwrap();
        assert!(last <= pass && pass <= 1.0 && found["standard_errors"][format!("eval_pass_at_{k}")].is_number());
        last = pass;
    }
    assert_eq!(found["prompts"], 3, "the whole file");
    let fewer = &json(&ok(&[&words[..], &["--set", "eval.samples=127"]].concat(), d))["sets"]["easy"];
    assert!(fewer["eval_pass_at_64"].is_number() && fewer.get("eval_pass_at_128").is_none());
}

#[test]
fn the_file_of_a_configuration_names_sets_from_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    std::fs::create_dir(d.join("inner")).unwrap();
    prepare(&d.join("inner"));
    std::fs::write(d.join("inner/c.toml"), "[eval.sets]\neasy = \"easy.jsonl\"\n").unwrap();
    let text = ok(&["train", "--dry-run", "--config", "inner/c.toml"], d);
    let path = d.join("inner/easy.jsonl");
    assert!(text.contains(&format!("[eval.sets]\neasy = \"{}\"", path.display())), "{text}");
    // The dry run's output is such a file too.
    std::fs::write(d.join("again.toml"), &text).unwrap();
    assert_eq!(ok(&["train", "--dry-run", "--config", "again.toml"], d), text);
    // A flag replaces the sets of the file.
    let text = ok(&["train", "--dry-run", "--config", "inner/c.toml", "--eval", "other=inner/hard.jsonl"], d);
    assert!(text.contains("other = ") && !text.contains("easy = "), "{text}");
}

#[test]
fn wrong_sets_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    prepare(d);
    std::fs::write(d.join("c.toml"), "[eval]\nsets = { \"a b\" = \"easy.jsonl\" }\n").unwrap();
    std::fs::write(d.join("no.jsonl"), "{\"question\": 1}\n").unwrap();
    for (words, wanted) in [
        (&["--eval", "easy.jsonl"][..], "expected NAME=FILE"),
        (&["--eval", "a b=easy.jsonl"], "the name of a set of prompts is \"a b\""),
        (&["--eval", "a="], "expected a file after a="),
        (&["--eval", "a=easy.jsonl", "--eval", "a=hard.jsonl"], "--eval gives two files of the name a"),
        (&["--eval", "a=missing.jsonl"], "missing.jsonl"),
        (&["--eval", "a=no.jsonl"], "no.jsonl:1: `prompt` is missing"),
        (&["--config", "c.toml"], "the name of a set of prompts is \"a b\""),
        (&["--task", "bits", "--eval", "a=easy.jsonl"], "`eval.sets` belongs to countdown, prompts"),
        (
            &["--eval", "a=easy.jsonl", "--set", "run.best=b_success"],
            "do not measure it: choose one of eval_a_success_exact",
        ),
        (
            &["--eval", "a=easy.jsonl", "--set", "run.best=success"],
            "do not measure it: choose one of eval_a_success_exact",
        ),
        (&["--eval", "a=easy.jsonl", "--set", "run.best=a_success_greedy"], "do not measure it"),
        (&["--eval", "a=easy.jsonl", "--set", "run.best=a_entropy"], "neither more nor less"),
    ] {
        let error = fails(&[&["train", "--out", "x"][..], words].concat(), d);
        assert!(error.contains(wanted) && !d.join("x").exists(), "{words:?}: {error}");
    }
}

#[test]
fn completions_without_a_reward_are_left_out_and_counted() {
    if !std::process::Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python3 here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let d = folder.path();
    prepare(d);
    let judge = "def some(prompt, completion, answer):\n    return None if '7' in prompt else 1.0\n\
                 def none(prompt, completion, answer):\n    return None\n";
    std::fs::write(d.join("reward.py"), judge).unwrap();
    let words = |function: &str, more: &[&str]| -> Vec<String> {
        let words = ["eval", "--eval", "hard=hard.jsonl", "--max-tokens", "4", "--set", "eval.samples=2"];
        let all = words.iter().chain(more).map(|word| (*word).to_owned());
        all.chain(["--verifier".to_owned(), format!("reward.py:{function}")]).collect()
    };
    let output = |words: &[String]| {
        let output = run(&words.iter().map(String::as_str).collect::<Vec<_>>(), d);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (text, errors) = output(&words("some", &["--json", "--greedy"]));
    let found = &json(&text)["sets"]["hard"];
    assert_eq!((&found["eval_success"], &found["eval_left_out"]), (&1.0.into(), &3.0.into()));
    assert!(found.get("eval_majority").is_none(), "no canonical form, no vote");
    assert!(errors.contains("3 of 6 completions of an evaluation got no reward"), "{errors}");
    let (text, _) = output(&words("none", &["--json"]));
    assert!(json(&text)["sets"]["hard"]["eval_success"].is_null(), "{text}");
    let (text, _) = output(&words("none", &[]));
    assert!(
        text.starts_with("hard: 2 prompts, 2 completions of each\n") && text.contains("eval_success             –")
    );
    // A run goes on, and warns once.
    let train = ["train", "--prompts", "easy.jsonl", "--steps", "1", "--set", "eval.every=1", "--out", "run"];
    let words = words("none", &[]);
    let words: Vec<&str> = train.into_iter().chain(words[1..].iter().map(String::as_str)).collect();
    let said = String::from_utf8(run(&words, d).stderr).unwrap();
    assert_eq!(said.matches("of an evaluation got no reward").count(), 1, "{said}");
}
