//! Tests that a run survives signals, killed writers, damaged files and changed settings.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use flowrl_cli::run_dir::sha256;
use serde_json::Value;

use crate::common::{assert_same_run, checkpoint, fails, ok, program, run, timeless};

const SMALL: [&str; 8] =
    ["--set", "train.prompts=2", "--set", "train.samples=2", "--set", "max_number=9", "--set", "max_tokens=10"];
const FEW: [&str; 4] = ["--set", "eval.prompts=2", "--set", "eval.samples=2"];

fn train<'a>(out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out][..], &SMALL, &FEW, more].concat()
}

/// Starts a long run and waits until `is_there` returns `true`.
#[cfg(unix)]
fn begun(words: &[&str], out: &Path, is_there: impl Fn() -> bool) -> Child {
    let mut child = program(words, out.parent().unwrap()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !is_there() {
        assert!(child.try_wait().unwrap().is_none(), "ended too early");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[cfg(unix)]
fn signal(child: &Child, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap().success());
}

fn lines(file: &Path) -> usize {
    std::fs::read_to_string(file).map_or(0, |text| text.lines().count())
}

#[cfg(unix)]
#[test]
fn signals_stop_save_and_say_how_to_go_on() {
    let directory = tempfile::tempdir().unwrap();
    // If these tests run in the background of a shell, they inherit an ignored INT, and so does the program.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("SigIgn:")?.trim(), 16).ok());
    for (name, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        if ignored.is_some_and(|ignored| ignored >> (number - 1) & 1 == 1) {
            println!("skipped: {name} is ignored here");
            continue;
        }
        let code = 128 + number;
        let out = directory.path().join(name);
        let words = train(name, &["--steps", "100000", "--set", "decay=constant", "--set", "save_every=0"]);
        let child = begun(&words, &out, || lines(&out.join("metrics.jsonl")) > 2);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        let step = timeless(&out).last().unwrap()["step"].as_u64().unwrap();
        assert!(checkpoint(&out, step).is_dir() && out.join("report.html").is_file());
        assert!(
            said.contains(&format!("at step {step} of 100000; continue with: flowrl-cli train --out {name} --resume")),
            "{said}"
        );
        // With a constant learning rate, a run extended by some steps equals a run started with as many steps.
        let steps = (step + 2).to_string();
        ok(&["train", "--out", name, "--resume", "--steps", &steps], directory.path());
        ok(&train("whole", &["--steps", &steps, "--set", "decay=constant", "--set", "save_every=0"]), directory.path());
        assert_same_run(&directory.path().join("whole"), &out, step + 2);
        std::fs::remove_dir_all(directory.path().join("whole")).unwrap();
    }
}

#[cfg(unix)]
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let program = env!("CARGO_BIN_EXE_flowrl-cli");
    let words = train("run", &["--steps", "60"]).join(" ");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("trap '' HUP; exec {program} {words}")]).current_dir(directory.path());
    let child = shell.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while lines(&out.join("metrics.jsonl")) < 2 {
        std::thread::sleep(Duration::from_millis(5));
    }
    signal(&child, "HUP");
    assert!(child.wait_with_output().unwrap().status.success());
    assert_eq!(lines(&out.join("metrics.jsonl")), 61);
}

#[cfg(unix)]
#[test]
fn sampling_is_given_up_and_comes_out_the_same_later() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let much = ["--steps", "1", "--set", "train.prompts=64", "--set", "train.samples=256", "--set", "max_tokens=24"];
    let words = [&["train", "--out", "run", "--set", "eval.prompts=0"][..], &much].concat();
    let child = begun(&words, &out, || out.join("run.json").is_file());
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(String::from_utf8_lossy(&output.stderr).contains("at step 0 of 1"));
    // A finished step would have left a checkpoint and rollouts.
    assert!(!checkpoint(&out, 1).exists() && lines(&out.join("rollouts.jsonl")) == 0);
}

#[cfg(unix)]
#[test]
fn an_evaluation_that_was_given_up_is_made_on_resuming() {
    let directory = tempfile::tempdir().unwrap();
    let (whole, broken) = (directory.path().join("whole"), directory.path().join("broken"));
    let measure = ["--steps", "3", "--set", "eval.every=2", "--set", "eval.prompts=16", "--set", "eval.samples=64"];
    let words = |out| [&["train", "--out", out][..], &SMALL, &measure].concat();
    ok(&words("whole"), directory.path());
    let (all, trained) = (lines(&whole.join("rollouts.jsonl")), 4);
    let first = (all - 3 * trained) / 3;
    // The signal should arrive when the rows of step 2 are written and those of its evaluation are not. On a busy
    // machine it may be late, or come after the end of the run, so this is repeated.
    let given_up = (0..20).any(|_| {
        let _ = std::fs::remove_dir_all(&broken);
        let child = begun(&words("broken"), &broken, || lines(&broken.join("rollouts.jsonl")) >= first + 2 * trained);
        signal(&child, "TERM");
        let code = child.wait_with_output().unwrap().status.code();
        assert!(matches!(code, Some(0 | 143)), "{code:?}");
        timeless(&broken).last().unwrap()["step"] == 1
    });
    assert!(given_up, "no signal came while an evaluation ran");
    let covered = std::fs::read_to_string(checkpoint(&broken, 2).join("records.json")).unwrap();
    assert!(covered.contains("unmeasured"), "{covered}");
    ok(&["train", "--out", "broken", "--resume"], directory.path());
    assert_same_run(&whole, &broken, 3);
}

#[cfg(unix)]
#[test]
fn a_checkpoint_can_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let words = train("run", &["--steps", "100000", "--set", "save_every=0"]);
    let mut child = begun(&words, &out, || lines(&out.join("metrics.jsonl")) > 2);
    signal(&child, "USR1");
    let saved = || {
        std::fs::read_dir(out.join("checkpoints"))
            .is_ok_and(|all| all.flatten().any(|entry| entry.path().extension().is_none()))
    };
    while !saved() {
        assert!(child.try_wait().unwrap().is_none(), "it goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[cfg(unix)]
#[test]
fn a_run_that_goes_on_has_a_report_that_loads_itself_again() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("run");
    let words = train("run", &["--steps", "100000", "--set", "eval.every=2"]);
    let mut child = begun(&words, &out, || lines(&out.join("metrics.jsonl")) > 3);
    let page = || std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page().contains("http-equiv=refresh") && page().contains(" · still running"));
    ok(&["report", "run"], directory.path());
    assert!(page().contains("http-equiv=refresh"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(ok(&["report", "run"], directory.path()), "run/report.html\n");
    assert!(!page().contains("http-equiv=refresh") && !page().contains("still running"));
}

#[test]
fn a_hole_in_the_records_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    ok(&train("run", &["--steps", "4", "--set", "save_every=2"]), directory.path());
    let run = directory.path().join("run");
    for name in ["metrics.jsonl", "rollouts.jsonl"] {
        let whole = std::fs::read(run.join(name)).unwrap();
        for len in [whole.len() - 1, 0] {
            std::fs::write(run.join(name), &whole[..len]).unwrap();
            // A run that is refused must not change the other file.
            let other = run.join(if name == "metrics.jsonl" { "rollouts.jsonl" } else { "metrics.jsonl" });
            let before = [&std::fs::read(&other).unwrap()[..], b"{}\n"].concat();
            std::fs::write(&other, &before).unwrap();
            let error = fails(&["train", "--out", "run", "--resume"], directory.path());
            assert!(error.contains(name) && error.contains("records are missing"), "{error}");
            assert!(before == std::fs::read(&other).unwrap());
        }
        std::fs::remove_file(run.join(name)).unwrap();
        assert!(fails(&["train", "--out", "run", "--resume"], directory.path()).contains("has 0 bytes"));
        // Anything after the records of the checkpoint, for example a torn line, is cut off.
        std::fs::write(run.join(name), [&whole[..], b"{\"step\": 5, \"lo"].concat()).unwrap();
        ok(&["train", "--out", "run", "--resume"], directory.path());
        assert!(whole == std::fs::read(run.join(name)).unwrap());
    }
}

#[test]
fn damaged_completions_are_kept_and_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train("run", &["--steps", "2"]), d);
    let file = d.join("run/rollouts.jsonl");
    let text = std::fs::read_to_string(&file).unwrap();
    let rows: Vec<&str> = text.lines().collect();
    let damaged: Vec<String> = (1..)
        .zip(&rows)
        .map(|(i, row)| if [2, 5].contains(&i) { "#".repeat(row.len()) } else { (*row).to_owned() })
        .collect();
    std::fs::write(&file, damaged.join("\n") + "\n").unwrap();
    let told = "warning: run/rollouts.jsonl has damaged lines, which are kept and not shown: 2, 5\n";
    for words in [&["report", "run"][..], &["train", "--out", "run", "--resume", "--steps", "3"]] {
        let output = run(words, d);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.matches(told).count() == 1, "{words:?}: {said}");
    }
    let after = std::fs::read_to_string(&file).unwrap();
    assert!(after.lines().count() > rows.len() && after.starts_with(&damaged.join("\n")));
    // An incomplete last line may still be written, so it does not count as damage.
    std::fs::write(&file, text + "{\"prompt\": \"3 5").unwrap();
    assert!(!String::from_utf8_lossy(&run(&["report", "run"], d).stderr).contains("damaged"));
}

#[test]
fn a_run_without_a_checkpoint_begins_anew_and_keeps_what_it_had() {
    let directory = tempfile::tempdir().unwrap();
    ok(&train("run", &["--steps", "2"]), directory.path());
    let path = directory.path().join("run");
    let before = std::fs::read(path.join("rollouts.jsonl")).unwrap();
    std::fs::rename(path.join("checkpoints"), path.join("elsewhere")).unwrap();
    for aside in ["rollouts.aside.jsonl", "rollouts.aside.jsonl-2"] {
        let output = run(&["train", "--out", "run", "--resume"], directory.path());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("there is no checkpoint: the run starts again"), "{said}");
        assert!(before == std::fs::read(path.join(aside)).unwrap());
        assert!(before == std::fs::read(path.join("rollouts.jsonl")).unwrap());
        std::fs::remove_dir_all(path.join("checkpoints")).unwrap();
    }
}

#[test]
fn a_damaged_checkpoint_names_the_older_one() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train("whole", &["--steps", "4", "--set", "save_every=2"]), d);
    for (file, damage) in [
        ("model.safetensors", &(|bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1) as &dyn Fn(&mut Vec<u8>)),
        ("trainer.safetensors", &|bytes| bytes.truncate(bytes.len() / 2)),
        ("trainer.json", &|bytes| bytes.clear()),
        ("SHA256SUMS", &|bytes| bytes[0] ^= 1),
    ] {
        let out = file.replace('.', "-");
        crate::common::copy_folder(&d.join("whole"), &d.join(&out));
        let path = checkpoint(&d.join(&out), 4).join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        damage(&mut bytes);
        std::fs::write(&path, bytes).unwrap();
        let error = fails(&["train", "--out", &out, "--resume"], d);
        assert!(error.contains("step-000004") && error.contains("--resume-from step-000002"), "{file}: {error}");
        ok(&["train", "--out", &out, "--resume-from", "step-000002"], d);
        assert_same_run(&d.join("whole"), &d.join(&out), 4);
        assert!(d.join(&out).join("checkpoints/aside-step-000004").join(file).is_file(), "nothing is deleted");
    }
    let error = fails(&["train", "--out", "whole", "--resume-from", "step-3"], d);
    assert!(error.contains("no checkpoint `step-3`, but step-000002, step-000004"), "{error}");
}

#[test]
fn a_checkpoint_of_another_format_or_step_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train("run", &["--steps", "2"]), d);
    let folder = checkpoint(&d.join("run"), 2);
    let whole = std::fs::read_to_string(folder.join("trainer.json")).unwrap();
    let sums = std::fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let sum = sha256(&folder.join("trainer.json")).unwrap();
    for (from, to, wanted) in [
        ("\"format\": 1", "\"format\": 2", "has the format 2, but this program reads 1"),
        ("\"format\": 1,", "", "of an earlier version"),
        ("\"step\": 2", "\"step\": 99", "is of step 99, but its folder's name says 2"),
    ] {
        std::fs::write(folder.join("trainer.json"), whole.replace(from, to)).unwrap();
        std::fs::write(folder.join("SHA256SUMS"), sums.replace(&sum, &sha256(&folder.join("trainer.json")).unwrap()))
            .unwrap();
        let error = fails(&["train", "--out", "run", "--resume"], d);
        assert!(error.contains(wanted) && error.contains("there is no older one"), "{error}");
    }
}

#[test]
fn weights_that_an_update_broke_are_not_saved_as_good() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    // A step of this size is infinite in single precision. There is only one step, so nothing samples from the weights
    // before they are saved.
    let words = ["--steps", "1", "--set", "warmup=0", "--set", "decay=constant", "--learning-rate", "1e39"];
    let error = fails(&train("run", &[&words[..], &["--set", "eval.every=0", "--set", "eval.prompts=0"]].concat()), d);
    assert!(error.contains("cannot write the checkpoint") && error.contains("a lower --learning-rate"), "{error}");
    assert_eq!(std::fs::read_dir(d.join("run/checkpoints")).unwrap().count(), 0);
}

#[test]
fn only_what_changes_no_result_may_change_on_resuming() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train("run", &["--steps", "2", "--seed", "5"]), d);
    let config = std::fs::read(d.join("run/config.toml")).unwrap();
    let resume = ["train", "--out", "run", "--resume"];
    for (change, wanted) in [
        (&["--seed", "9"][..], "train.seed from 5 to 9"),
        (&["--set", "beta=1"], "objective.beta from 15.0 to 1.0"),
        (&["--objective", "grpo"], "this would change objective.preset from \"paper\" to \"grpo\"; start"),
    ] {
        let error = fails(&[&resume[..], change].concat(), d);
        assert!(error.contains(wanted) && error.contains("in another --out"), "{error}");
        assert!(config == std::fs::read(d.join("run/config.toml")).unwrap());
    }
    // The same is true if the file is edited or lost.
    std::fs::write(d.join("run/config.toml"), String::from_utf8(config).unwrap().replace("seed = 5", "seed = 6"))
        .unwrap();
    assert!(fails(&resume, d).contains("train.seed from 5 to 6"));
    std::fs::write(d.join("run/config.toml"), "").unwrap();
    assert!(fails(&resume, d).contains("is another run"));
    std::fs::remove_dir_all(d.join("run")).unwrap();

    ok(&train("run", &["--steps", "2", "--seed", "5"]), d);
    let free = ["--steps", "3", "--threads", "1", "--set", "eval.every=1", "--set", "run.keep=1"];
    let output = run(&[&resume[..], &free].concat(), d);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("decays over train.steps: up to here as for 2 steps"));
    let story: Value = serde_json::from_slice(&std::fs::read(d.join("run/run.json")).unwrap()).unwrap();
    let stretches = story["stretches"].as_array().unwrap();
    assert_eq!(stretches.iter().map(|s| s["step"].as_u64()).collect::<Vec<_>>(), [Some(0), Some(2)]);
    for stretch in stretches {
        assert!(stretch["command"].as_array().unwrap().iter().any(|word| word == "train"));
        assert!(["started", "version", "system", "config"].iter().all(|key| stretch[key].is_string()), "{stretch}");
    }
    assert!(stretches[1]["config"].as_str().unwrap().contains("threads = 1"));
    let page = std::fs::read_to_string(d.join("run/report.html")).unwrap();
    assert!(
        page.contains(stretches[1]["started"].as_str().unwrap()) && page.contains("--resume"),
        "the report shows it"
    );
}

#[test]
fn a_run_says_when_its_data_have_changed() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let row = "{\"prompt\": \"3 5 = 8 : \", \"answer\": \"3+5\"}\n";
    std::fs::write(d.join("p.jsonl"), row.repeat(12)).unwrap();
    let words = ["train", "--prompts", "p.jsonl", "--out", "run", "--max-tokens", "3", "--set", "eval.prompts=0"];
    ok(&[&words[..], &["--steps", "1", "--samples", "2", "--set", "train.prompts=2"]].concat(), d);
    std::fs::write(d.join("p.jsonl"), row.repeat(13)).unwrap();
    let output = run(&["train", "--out", "run", "--resume", "--steps", "2"], d);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("p.jsonl has changed since"), "{said}");
    let story: Value = serde_json::from_slice(&std::fs::read(d.join("run/run.json")).unwrap()).unwrap();
    let sums = |i: usize| story["stretches"][i]["files"].as_object().unwrap().values().next().unwrap().clone();
    assert_ne!(sums(0), sums(1));
    assert_eq!(sums(1), sha256(&d.join("p.jsonl")).unwrap().as_str());
}
