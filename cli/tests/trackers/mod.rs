//! Tests of the trackers: TensorBoard's files, and the calls to Python libraries, for which fake modules stand in.
//! `cargo xtask trackers` uses the real libraries.

mod decode;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::common::{TEXT, fails, ok, program};

const LAB: [&str; 10] =
    ["--task", "bandit", "--set", "size=16", "--set", "batch=16", "--set", "eval.every=10", "--set", "save_every=10"];
fn train<'a>(task: &[&'a str], out: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "--out", out][..], task, more].concat()
}

fn records(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Returns the names and numbers of a record, except for the step.
fn numbers(record: &Value) -> impl Iterator<Item = (&str, f64)> {
    let fields = record.as_object().unwrap().iter().filter(|(name, _)| *name != "step");
    fields.map(|(name, value)| (name.as_str(), value.as_f64().unwrap_or(f64::NAN)))
}

/// Returns whether `tag` is the name in a tracker for the metric `name`: the same name with the prefix of a group.
fn is_tag(tag: &str, name: &str) -> bool {
    match name.strip_prefix("eval_") {
        Some(rest) => tag.strip_prefix("eval/") == Some(rest),
        None => ["train/", "exact/", "time/"].iter().any(|group| tag.strip_prefix(group) == Some(name)),
    }
}

fn assert_events(run: &Path) -> decode::Events {
    let events = decode::read(&run.join("tensorboard"));
    let mut expected = 0;
    for record in records(run) {
        let step = record["step"].as_u64().unwrap();
        for (name, value) in numbers(&record) {
            let mut found = events.scalars.iter().filter(|((tag, at), _)| *at == step && is_tag(tag, name));
            let (_, got) = found.next().unwrap_or_else(|| panic!("no {name} of step {step}"));
            assert!(got.to_bits() == (value as f32).to_bits() || (got.is_nan() && value.is_nan()), "{name}: {got}");
            expected += 1;
        }
    }
    assert_eq!(events.scalars.len(), expected, "nothing else is there");
    events
}

#[test]
fn event_files_hold_the_records_and_forget_what_a_resumed_run_makes_again() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train(&LAB, "lab", &["--steps", "25", "--set", "keep=9", "--tracker", "tensorboard"]), d);
    let events = assert_events(&d.join("lab"));
    assert!(events.starts.is_empty() && events.files == 1);
    let [(command, words), (config, toml)] = &events.texts[..] else { panic!("{:?}", events.texts) };
    assert!(command == "command" && words.contains("--tracker tensorboard"), "{words}");
    assert!(config == "config" && toml.contains("    [train]\n"), "{toml}");
    assert!(events.descriptions["exact/tv"].starts_with("Total variation: "), "{:?}", events.descriptions);
    // Resuming from an earlier checkpoint leaves records to forget. The new settings do not write them again.
    ok(&["train", "--out", "lab", "--resume-from", "step-000010", "--set", "eval.every=0"], d);
    let events = assert_events(&d.join("lab"));
    assert_eq!((events.starts, events.files), (vec![11], 2));
    assert_eq!(records(&d.join("lab")).last().unwrap()["step"], 25);

    ok(&train(&TEXT, "text", &["--steps", "2", "--set", "run.tracker=[\"tensorboard\"]"]), d);
    let events = assert_events(&d.join("text"));
    let tags = ["train/loss", "eval/success", "eval/success_se", "time/step_s"];
    assert!(tags.iter().all(|tag| events.scalars.keys().any(|(known, _)| known == tag)));
}

#[test]
fn an_event_file_that_cannot_be_written_is_an_error_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    ok(&train(&LAB, "run", &["--steps", "10"]), d);
    std::fs::write(d.join("run/tensorboard"), "no folder").unwrap();
    let error = fails(&["train", "--out", "run", "--resume", "--steps", "20", "--tracker", "tensorboard"], d);
    assert!(error.contains("cannot create run/tensorboard"), "{error}");
}

/// Creates a folder of fake modules. Returns `None` if there is no Python.
fn fakes(directory: &Path) -> Option<PathBuf> {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: there is no python3 here");
        return None;
    }
    let folder = directory.join("fakes");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("fakes.py"), include_str!("fakes.py")).unwrap();
    for name in ["wandb", "trackio", "mlflow"] {
        std::fs::write(
            folder.join(format!("{name}.py")),
            "import fakes\nfrom fakes import *\n\ndef init(**options):\n    return fakes.init(**options)\n",
        )
        .unwrap();
    }
    Some(folder)
}

/// Returns the command of the program with the fake modules and without the environment variables of the trackers.
fn faked(arguments: &[&str], directory: &Path, fakes: &Path) -> Command {
    let mut command = program(arguments, directory);
    for (name, _) in std::env::vars_os() {
        if ["WANDB_", "TRACKIO_", "MLFLOW_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env_remove("VIRTUAL_ENV").env("PYTHONPATH", fakes).env("CALLS", directory);
    command
}

fn calls(directory: &Path, tracker: &str, call: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(directory.join(format!("{tracker}.jsonl"))).unwrap_or_default();
    // The last line may be incomplete while the process is writing it.
    let all = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    all.filter(|line| line["call"] == call).collect()
}

/// Asserts that a tracker got all records of a run. If the run was resumed, the times may differ: the tracker keeps
/// those of the first time a step was made.
fn assert_logged(logged: &[Value], run: &Path, is_resumed: bool) {
    let records = records(run);
    assert_eq!(logged.len(), records.len());
    for (logged, record) in logged.iter().zip(&records) {
        let values = logged["values"].as_object().unwrap();
        assert_eq!((&logged["step"], values.len()), (&record["step"], numbers(record).count()));
        for ((tag, got), (name, value)) in values.iter().zip(numbers(record)) {
            let is_time = is_resumed && tag.starts_with("time/");
            assert!(is_tag(tag, name) && (is_time || got.as_f64() == Some(value)), "{tag}: {got}, {name}: {value}");
        }
    }
}

#[test]
fn python_trackers_get_the_records_and_know_a_run_again() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let Some(folder) = fakes(d) else { return };
    let words = train(
        &LAB,
        "run",
        &[
            "--steps",
            "20",
            "--set",
            "keep=9",
            "--tracker",
            "wandb,trackio",
            "--tracker",
            "mlflow",
            "--set",
            "decay=constant",
        ],
    );
    let output = faked(&words, d, &folder).env("WANDB_PROJECT", "mine").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("wandb: offline; to upload the run after its end: wandb sync folder"), "{said}");
    assert!(!said.contains("says something") && !String::from_utf8_lossy(&output.stdout).contains("says something"));
    let log = std::fs::read_to_string(d.join("run/tracker-wandb.log")).unwrap();
    assert!(log.contains("wandb says something"), "{log}");

    let run = d.join("run");
    for (tracker, call) in [("wandb", "log"), ("trackio", "log"), ("mlflow", "log_metrics")] {
        assert_logged(&calls(d, tracker, call), &run, false);
    }
    let begun = |tracker, call| calls(d, tracker, call).pop().unwrap();
    let init = begun("wandb", "init");
    assert!(init["project"].is_null() && init["name"] == "run" && init["resume"] == "allow", "{init}");
    assert_eq!((&init["config"]["train"]["steps"], init["dir"].as_str()), (&20.into(), run.to_str()));
    assert!(init["config"]["command"].as_str().unwrap().contains("--task bandit"), "{init}");
    let id = init["id"].as_str().unwrap();
    assert_eq!(id.len(), 16);
    assert_eq!(begun("trackio", "init")["name"], format!("run-{}", &id[..8]));
    assert_eq!(begun("mlflow", "set_tracking_uri")["uri"], format!("sqlite:///{}/mlflow.db", run.display()));
    assert_eq!(begun("mlflow", "start_run")["tags"]["flowrl.id"], id);
    assert_eq!(begun("mlflow", "log_params")["values"]["train.steps"], 20);
    assert_eq!(
        (&begun("wandb", "finish")["exit_code"], &begun("mlflow", "end_run")["status"]),
        (&0.into(), &"FINISHED".into())
    );

    // Repeated steps are not logged again if the tracker would then have them twice.
    let words = ["train", "--out", "run", "--resume-from", "step-000010", "--steps", "30"];
    let output = faked(&words, d, &folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("warning"), "{said}");
    assert_eq!(begun("wandb", "init")["id"], id);
    assert_eq!(begun("mlflow", "start_run")["run_id"], "r1");
    assert_logged(&calls(d, "trackio", "log"), &run, true);
    assert_logged(&calls(d, "mlflow", "log_metrics"), &run, true);
    assert_eq!(begun("mlflow", "log_params")["values"]["train.steps"], 20, "a parameter that is known stays");
}

#[test]
fn a_tracker_that_fails_ends_no_run_and_is_told_of() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let Some(folder) = fakes(d) else { return };
    for (how, why) in [("raise", "wandb has ended: ValueError: no more of this; training"), ("die", "exit status: 7")] {
        let words = train(&LAB, how, &["--steps", "30", "--tracker", "wandb"]);
        let output = faked(&words, d, &folder).env("FAKE", how).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(why), "{said}");
        assert_eq!(said.matches("wandb has ended").count(), 1, "{said}");
        assert!(said.contains("warning: wandb failed during the run") && said.contains("tracker-wandb.log"), "{said}");
        assert!(!said.contains("Traceback"), "{said}");
        assert_eq!(records(&d.join(how)).len(), 4);
    }
}

#[cfg(unix)]
fn wait_for(is_there: impl Fn() -> bool) {
    for _ in 0..6000 {
        if is_there() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("it does not come");
}

#[cfg(unix)]
#[test]
fn a_tracker_outlives_the_run_that_it_is_of() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let Some(folder) = fakes(d) else { return };
    for (signal, exit_status, mlflow) in [("TERM", Some(143), "KILLED"), ("KILL", None, "FAILED")] {
        for tracker in ["wandb", "mlflow"] {
            std::fs::remove_file(d.join(format!("{tracker}.jsonl"))).unwrap_or_default();
        }
        let words = train(&TEXT, signal, &["--steps", "100000", "--tracker", "wandb,mlflow"]);
        let mut command = faked(&words, d, &folder);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        wait_for(|| !calls(d, "wandb", "log").is_empty() && !calls(d, "mlflow", "log_metrics").is_empty());
        // Signal the whole process group, as a terminal does.
        let kill = Command::new("kill").args([&format!("-{signal}"), "--", &format!("-{}", child.id())]).status();
        assert!(kill.unwrap().success());
        assert_eq!(child.wait().unwrap().code(), exit_status);
        wait_for(|| !calls(d, "wandb", "finish").is_empty() && !calls(d, "mlflow", "end_run").is_empty());
        assert_eq!(calls(d, "wandb", "finish")[0]["exit_code"], 1);
        assert_eq!(calls(d, "mlflow", "end_run")[0]["status"], mlflow);
    }
}

#[test]
fn what_is_missing_is_said_before_the_run_begins() {
    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let error = fails(&train(&LAB, "run", &["--tracker", "nowhere"]), d);
    assert!(error.contains("nowhere") && error.contains("tensorboard, wandb, trackio, mlflow"), "{error}");
    let error = fails(&train(&LAB, "run", &["--set", "run.tracker=[\"nowhere\"]"]), d);
    assert!(error.contains("run.tracker") && error.contains("`trackio`, `mlflow`"), "{error}");
    let error = fails(&train(&LAB, "run", &["--tracker", "wandb", "--python", "no/python"]), d);
    assert!(error.contains("no/python (from --python); install Python 3"), "{error}");
    let mut command = program(&train(&LAB, "run", &["--tracker", "wandb"]), d);
    let output = command.env("VIRTUAL_ENV", d.join("venv")).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("VIRTUAL_ENV is") && error.contains("--python"), "{error}");
    // A dry run starts no tracker.
    let text = ok(&train(&LAB, "run", &["--tracker", "wandb", "--python", "no/python", "--dry-run"]), d);
    assert!(text.contains("tracker = [\"wandb\"]") && text.contains("no/python"), "{text}");
    assert!(!d.join("run").exists());
}

#[cfg(unix)]
#[test]
fn a_module_that_is_missing_is_said_before_the_run_begins() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().unwrap();
    let d = directory.path();
    let Some(_) = fakes(d) else { return };
    // This Python ignores installed packages. A folder named `wandb` must not count as the module.
    std::fs::write(d.join("bare"), "#!/bin/sh\nexec python3 -S \"$@\"\n").unwrap();
    std::fs::set_permissions(d.join("bare"), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::create_dir(d.join("wandb")).unwrap();
    let error = fails(&train(&LAB, "run", &["--tracker", "wandb", "--python", "./bare"]), d);
    assert!(error.contains("`wandb` is not installed in ") && error.contains("-m pip install wandb"), "{error}");
    assert!(!d.join("run").exists());
}
