//! Tests of sweeps over objectives and several options, with several runs at a time.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{assert_same_run, checkpoint, fails, ok, program, run};
use crate::synthetic::balanced;

/// Flags of a small run in the lab with few records.
const BANDIT: [&str; 7] = ["--task", "bandit", "--set", "size=16", "--set", "batch=16", "--quiet"];

fn sweep<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["sweep", "--out", out][..], &BANDIT, more].concat()
}

fn records(run: &Path) -> usize {
    std::fs::read_to_string(run.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

#[test]
fn names_and_several_options_make_a_table_with_links_and_curves() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let grid = ["--objective", "exact-tb,grpo", "--set", "optimizer.learning_rate=0.05,0.1", "--seeds", "2"];
    let words = sweep("a sweep", &[&grid[..], &["--steps", "20"]].concat());
    let text = ok(&words, d);
    assert!(text.starts_with("| objective | optimizer.learning_rate | seeds | Total variation |"), "{text}");
    let rows: Vec<&str> = text.lines().skip(2).collect();
    for (row, start) in rows.iter().zip(["exact-tb | 0.05", "exact-tb | 0.1", "grpo | 0.05", "grpo | 0.1"]) {
        assert!(row.starts_with(&format!("| {start} | 2 | ")) && row.contains('±'), "{row}");
    }
    assert_eq!(rows.len(), 4);
    let found: Value = serde_json::from_str(&ok(&[&words[..], &["--json"]].concat(), d)).unwrap();
    assert_eq!(found["keys"], serde_json::json!(["objective", "optimizer.learning_rate"]));
    let runs = found["runs"].as_array().unwrap();
    assert_eq!((runs.len(), found["target"].as_array().unwrap().len()), (8, 0));
    assert_eq!(runs[3]["settings"], serde_json::json!({"objective": "exact-tb", "optimizer.learning_rate": 0.1}));
    assert_eq!(runs[3]["run"], "a sweep/objective=exact-tb,learning_rate=0.1-seed1");
    assert!(runs[3]["seed"] == 1 && runs[3]["metrics"]["tv"].is_number());
    let html = std::fs::read_to_string(d.join("a sweep/sweep.html")).unwrap();
    balanced(&html);
    assert!(html.contains("Sweep over objective, optimizer.learning_rate") && html.contains("4 settings · 8 runs"));
    assert!(html.contains("objective = grpo, optimizer.learning_rate = 0.05</th>"), "a row of the table");
    assert!(html.contains("<h2>Over the steps</h2>") && html.contains("<h3>Total variation</h3>"), "curves");
    let link = "href='objective%3Dgrpo%2Clearning_rate%3D0.1-seed1/report.html'";
    assert_eq!(html.matches(link).count(), 2, "in the table and in the list");
    // If the same runs are compared, their groups are named by the settings that differ.
    let directories: Vec<&str> = runs.iter().map(|run| run["run"].as_str().unwrap()).collect();
    let text = ok(&[&["compare", "--json"][..], &directories].concat(), d);
    let compared: Value = serde_json::from_str(&text).unwrap();
    let groups: Vec<_> = compared["groups"].as_array().unwrap().iter().map(|group| &group["objective"]).collect();
    assert_eq!(groups.len(), 4);
    assert_eq!(groups[1], "exact-tb (optimizer.learning_rate = 0.1)");
    let page = std::fs::read_to_string(d.join("compare.html")).unwrap();
    assert!(page.contains(&link.replace("href='", "href='a%20sweep/")), "relative to the page");
}

#[test]
fn runs_at_a_time_give_the_bits_of_runs_in_turn() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let more = ["--set", "beta=1,4", "--seeds", "2", "--steps", "30", "--threads", "0"];
    let one = ok(&sweep("one", &more), d);
    let output = run(&sweep("two", &[&more[..], &["--jobs", "3"]].concat()), d);
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(one, String::from_utf8(output.stdout).unwrap());
    for name in ["beta=1-seed0", "beta=1-seed1", "beta=4-seed0", "beta=4-seed1"] {
        assert_same_run(&d.join("one").join(name), &d.join("two").join(name), 30);
    }
    // A sweep with another number of jobs, and thus of threads, is the same sweep: no run is repeated.
    let last = d.join("two/beta=4-seed1/metrics.jsonl");
    let before = std::fs::metadata(&last).unwrap().modified().unwrap();
    ok(&sweep("two", &more), d);
    assert_eq!(before, std::fs::metadata(&last).unwrap().modified().unwrap());
    assert!(fails(&sweep("x", &[&more[..], &["--jobs", "0"]].concat()), d).contains("--jobs is 0"));
}

#[test]
fn progress_is_a_line_for_each_run_begun_and_ended() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let words = ["sweep", "--task", "bandit", "--set", "beta=1,4", "--steps", "300", "--jobs", "2", "--out", "s"];
    let early = ["--set", "run.best=tv", "--set", "run.patience=1", "--set", "optimizer.learning_rate=0.5"];
    let output = run(&[&words[..], &early].concat(), d);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && said.lines().count() == 5, "{said}");
    for wanted in ["s/beta=1-seed0: run 1 of 2 begins", "s/beta=4-seed0: run 2 of 2 begins", "s/sweep.html"] {
        assert!(said.contains(wanted), "{said}");
    }
    let ended = said.lines().find(|line| line.starts_with("s/beta=4-seed0: total variation ")).unwrap();
    assert!(ended.contains("; stopped at step ") && ended.contains(" of 300: tv has not improved for 1 "), "{ended}");
    // A run that stopped early counts as finished.
    let again = run(&[&words[..], &early].concat(), d);
    assert_eq!(String::from_utf8(again.stderr).unwrap(), "2 of 2 runs are finished already\ns/sweep.html\n");
}

#[test]
fn a_run_that_fails_stops_no_other_and_is_named_at_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let more = ["--set", "beta=1,2,3", "--steps", "10", "--jobs", "2"];
    ok(&sweep("s", &more), d);
    std::fs::write(checkpoint(&d.join("s/beta=1-seed0"), 10).join("trainer.json"), "x").unwrap();
    std::fs::remove_file(d.join("s/beta=1-seed0/report.html")).unwrap();
    for name in ["s/beta=2-seed0", "s/beta=3-seed0"] {
        std::fs::remove_dir_all(d.join(name)).unwrap();
    }
    std::fs::remove_file(d.join("s/sweep.html")).unwrap();
    let error = fails(&sweep("s", &more), d);
    let last =
        "error: 1 of 3 runs failed; the same sweep command tries them again:\n  s/beta=1-seed0: cannot continue from ";
    assert!(error.contains(last) && error.ends_with("is not the one in SHA256SUMS\n"), "{error}");
    assert!(d.join("s/beta=3-seed0/report.html").is_file() && !d.join("s/sweep.html").exists());
    std::fs::remove_dir_all(d.join("s/beta=1-seed0")).unwrap();
    ok(&sweep("s", &more), d);
}

#[cfg(unix)]
#[test]
fn a_signal_stops_every_run_and_the_same_command_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let (steps, set) = (["--steps", "6000"], ["--set", "eval.every=200", "--set", "save_every=0"]);
    let words = sweep("s", &[&["--set", "beta=1,2,3", "--jobs", "2"][..], &steps, &set].concat());
    let mut command = program(&words, d);
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = ["s/beta=1-seed0", "s/beta=2-seed0"].map(|name| d.join(name));
    while begun.iter().any(|run| records(run) < 3) {
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(143), "{said}");
    assert!(
        said.contains("run the same sweep command again to continue") && said.contains("SIGTERM stopped the run"),
        "{said}"
    );
    for run in &begun {
        let saved = std::fs::read_dir(run.join("checkpoints")).unwrap().count();
        assert!(saved == 1 && run.join("report.html").is_file(), "each has saved and ended");
        let lock = std::fs::File::open(run.join(".lock")).unwrap();
        lock.try_lock().expect("no process is left");
    }
    assert_eq!(records(&d.join("s/beta=3-seed0")), 0, "none is begun after a signal");
    ok(&words, d);
    let one = [&["train", "--set", "beta=1", "--out", "one"][..], &BANDIT, &steps, &set].concat();
    ok(&one, d);
    assert_same_run(&d.join("one"), &begun[0], 6000);
}
