//! Tests of a run's best checkpoint, and of its early end if nothing improves.

use std::path::Path;

use serde_json::Value;

use crate::common::{TEXT, assert_same_run, checkpoint, fails, kill_and_resume, ok, run, timeless};

/// A run in the lab that overshoots: tv falls and rises again.
const LAB: [&str; 16] = [
    "train",
    "--task",
    "bandit",
    "--set",
    "size=16",
    "--set",
    "batch=16",
    "--set",
    "optimizer.learning_rate=0.5",
    "--set",
    "decay=constant",
    "--set",
    "run.best=tv",
    "--set",
    "save_every=20",
    "--json",
];

fn lab<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&LAB[..], more].concat()
}

fn steps(run: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(run.join("checkpoints")).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn last(text: &str) -> Value {
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Returns the step from 1 to `to` with the least tv.
fn least(run: &Path, to: u64) -> u64 {
    let records = timeless(run);
    let record = records.iter().filter(|r| (1..=to).contains(&r["step"].as_u64().unwrap()));
    let tv = |record: &Value| record["tv"].as_f64().unwrap();
    record.min_by(|a, b| tv(a).total_cmp(&tv(b))).unwrap()["step"].as_u64().unwrap()
}

#[test]
fn the_best_checkpoint_outlives_rotation_and_every_way_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let summary = last(&ok(&lab(&["--steps", "90", "--out", "whole", "--set", "keep=1"]), d));
    let whole = d.join("whole");
    let best = least(&whole, 90);
    assert!(best < 90, "the run must overshoot, or nothing is tested");
    assert_eq!((&summary["best"], &summary["best_step"]), (&"tv".into(), &best.into()));
    assert_eq!(steps(&whole), [format!("step-{best:06}"), "step-000090".into()]);
    let page = std::fs::read_to_string(whole.join("report.html")).unwrap();
    assert!(page.contains(&format!("Best checkpoint: step {best}, tv ")));

    // The best checkpoint is the same if the run is killed and resumed.
    let words = lab(&["--steps", "1200", "--set", "keep=1"]);
    ok(&[&words[..], &["--out", "long"]].concat(), d);
    kill_and_resume(&words, "killed", &[20, 60, 35, 90], d);
    assert_same_run(&d.join("long"), &d.join("killed"), 1200);
    assert_eq!(steps(&d.join("long")), steps(&d.join("killed")));

    // It is also right after resuming from each of the checkpoints, which cuts back the records.
    ok(&lab(&["--steps", "90", "--out", "kept", "--set", "keep=3"]), d);
    let (kept, names) = (d.join("kept"), steps(&d.join("kept")));
    assert!(names.len() > 3, "{names:?}");
    for name in names.iter().rev() {
        let from: u64 = name["step-".len()..].parse().unwrap();
        let steps = from.to_string();
        let words = ["train", "--out", "kept", "--resume-from", name, "--steps", &steps, "--json"];
        assert_eq!(last(&ok(&words, d))["best_step"], least(&kept, from), "from {name}");
    }
    ok(&["train", "--out", "kept", "--resume", "--steps", "90"], d);
    assert_same_run(&whole, &kept, 90);
}

#[test]
fn patience_ends_a_run_and_going_on_takes_more_of_it() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let words = lab(&["--steps", "100", "--out", "run", "--set", "patience=2"]);
    let summary = last(&ok(&words, d));
    let run_of = d.join("run");
    let (stopped, best) = (summary["step"].as_u64().unwrap(), least(&run_of, 100));
    assert!(stopped == best + 20 && stopped < 100, "{summary}");
    assert_eq!(summary["stopped"], "patience");
    assert!(checkpoint(&run_of, best).is_dir() && checkpoint(&run_of, stopped).is_dir());
    let page = std::fs::read_to_string(run_of.join("report.html")).unwrap();
    let said = format!("topped at step {stopped} of 100: tv has not improved for 2 evaluations; best ");
    assert!(page.contains(&format!("S{said}")), "{said}");
    // Resuming does nothing unless a setting changes.
    let records = timeless(&run_of);
    let output = run(&["train", "--out", "run", "--resume"], d);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains(&format!("s{said}")) && text.contains("a larger run.patience"));
    assert_eq!(records, timeless(&run_of));
    let more = ok(&["train", "--out", "run", "--resume", "--steps", "90", "--json"], d);
    assert!(last(&more)["step"].as_u64().unwrap() > stopped);
    ok(&["train", "--out", "run", "--resume", "--steps", "100", "--set", "patience=0"], d);
    ok(&lab(&["--steps", "100", "--out", "whole"]), d);
    assert_same_run(&d.join("whole"), &run_of, 100);
}

#[test]
fn the_best_is_a_model_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let words = ["train", "--steps", "4", "--learning-rate", "0.01", "--set", "run.best=success_exact"];
    let text = ok(&[&words[..], &TEXT, &["--set", "eval.every=1", "--set", "keep=1", "--out", "run"]].concat(), d);
    let records = timeless(&d.join("run"));
    let exact = |record: &Value| record["eval_success_exact"].as_f64().unwrap();
    let best = records[1..].iter().max_by(|a, b| exact(a).total_cmp(&exact(b))).unwrap();
    let step = best["step"].as_u64().unwrap();
    assert!(step < 4, "such a rate breaks the model, or nothing is tested");
    let line = format!("best checkpoint: step {step}, eval_success_exact ");
    assert!(text.contains(&line) && text.contains("load it with --model run/best"), "{text}");
    let measured = |model: &str| -> Value { serde_json::from_str(&ok(&["eval", model, "--json"], d)).unwrap() };
    assert_eq!(measured("run/best")["eval_success_exact"], best["eval_success_exact"]);
    assert_eq!(measured("run")["eval_success_exact"], records[4]["eval_success_exact"]);
    let exported: Value = serde_json::from_str(&ok(&["export", "run/best", "out", "--json"], d)).unwrap();
    assert!(exported["from"].as_str().unwrap().ends_with(&format!("step-{step:06}")));
    for words in [&["sample", "--prompt", "3 5 7 = 22 : "][..], &["train", "--dry-run"]] {
        ok(&[words, &["--model", "run/best"]].concat(), d);
    }
    // A run without `run.best` has no best checkpoint.
    ok(&[&["train", "--steps", "1", "--out", "plain"][..], &TEXT].concat(), d);
    let error = fails(&["export", "plain/best", "x"], d);
    assert!(error.contains("the run plain keeps no best checkpoint"), "{error}");
}

#[test]
fn what_cannot_be_the_best_is_refused_before_anything_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    for (settings, wanted) in [
        (&["--set", "run.best=loss"][..], "not measured by evaluations: choose one of eval_success_exact,"),
        (&["--set", "run.patience=2"], "run.best names no metric"),
        (&["--set", "run.best=success", "--set", "eval.prompts=0"], "eval.prompts is 0"),
        (&["--task", "bits", "--set", "run.best=success"], "choose one of tv, kl,"),
    ] {
        for command in ["train", "sweep"] {
            let settings = if command == "sweep" { &[settings, &["--set", "warmup=1,2"]].concat() } else { settings };
            let error = fails(&[&[command, "--out", "x"][..], settings].concat(), d);
            assert!(error.contains(wanted) && !d.join("x").exists(), "{error}");
        }
    }
    // On resuming, the records show that the evaluations of this run lack the metric.
    let words = ["train", "--out", "run", "--steps", "1", "--set", "train.prompts=2", "--set", "train.samples=2"];
    let rows = "{\"prompt\": \"3 5 = 8 : \", \"answer\": \"3+5\"}\n".repeat(3);
    std::fs::write(d.join("p.jsonl"), rows).unwrap();
    ok(&[&words[..], &["--prompts", "p.jsonl", "--verifier", "exact", "--max-tokens", "3"]].concat(), d);
    let resume = ["train", "--out", "run", "--resume", "--set", "run.best=success_exact"];
    let error = fails(&resume, d);
    assert!(error.contains("do not record; they have eval_success, eval_pass_at_1"), "{error}");
    assert!(!std::fs::read_to_string(d.join("run/config.toml")).unwrap().contains("best ="));
}
