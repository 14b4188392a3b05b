//! Helpers shared by the tests of the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use flowrl_core::metrics::{self, Source};
use serde_json::Value;

/// Flags of the smallest possible run of a language model.
pub(crate) const TEXT: [&str; 12] = [
    "--set",
    "train.prompts=2",
    "--set",
    "train.samples=2",
    "--set",
    "eval.prompts=2",
    "--set",
    "eval.samples=2",
    "--set",
    "max_number=9",
    "--set",
    "max_tokens=10",
];

pub(crate) fn program(arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_flowrl-cli"));
    command.args(arguments).current_dir(directory);
    command
}

pub(crate) fn run(arguments: &[&str], directory: &Path) -> Output {
    program(arguments, directory).output().unwrap()
}

/// Runs the program, which must succeed, and returns its standard output.
pub(crate) fn ok(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs the program, which must fail with status 1 or 2, and returns its standard error.
pub(crate) fn fails(arguments: &[&str], directory: &Path) -> String {
    let output = run(arguments, directory);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?} ended with {}", output.status);
    String::from_utf8(output.stderr).unwrap()
}

/// Returns the records of a run without the metrics that depend on the clock.
pub(crate) fn timeless(run: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let is_timed = |name: &str| metrics::get(name).is_some_and(|metric| metric.source == Source::Clock);
    let record = |line: &str| {
        let mut record: Value = serde_json::from_str(line).unwrap();
        record.as_object_mut().unwrap().retain(|name, _| !is_timed(name));
        record
    };
    text.lines().map(record).collect()
}

#[cfg(target_os = "linux")]
/// Compiles C++ into a shared library that the loader finds by its file name. Returns whether this succeeded; it fails
/// if there is no compiler.
pub(crate) fn library(text: &str, path: &Path) -> bool {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let source = path.with_extension("cpp");
    std::fs::write(&source, text).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", &format!("-Wl,-soname,{name}"), "-o"]).arg(path).arg(&source);
    command.status().is_ok_and(|status| status.success())
}

/// Asserts that the table of metrics has a row for each value that a run recorded, and that the value is in its range.
pub(crate) fn assert_described(run: &Path) {
    let text = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    for record in text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        for (name, value) in record.as_object().unwrap() {
            // The standard errors of sampled metrics are recorded too, but have no rows.
            let sampled =
                name.strip_suffix("_se").and_then(flowrl_cli::metrics::get).is_some_and(|metric| metric.evaluated);
            if sampled && value.as_f64().is_some_and(|error| error >= 0.0) {
                continue;
            }
            let Some(metric) = flowrl_cli::metrics::get(name) else {
                panic!("{name} has no row in the table of metrics")
            };
            let (least, largest) = metric.range;
            let possible = value.as_f64().is_none_or(|x| least - 1e-9 <= x && x <= largest + 1e-9);
            assert!(possible, "{name} is {value}, outside of {least}..={largest}");
        }
    }
}

pub(crate) fn checkpoint(run: &Path, step: u64) -> PathBuf {
    run.join(format!("checkpoints/step-{step:06}"))
}

pub(crate) fn assert_same_run(a: &Path, b: &Path, step: u64) {
    assert_eq!(timeless(a), timeless(b));
    let files: Vec<_> =
        std::fs::read_dir(checkpoint(a, step)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    for file in [Path::new("trainer.safetensors"), Path::new("trainer.json")] {
        assert!(files.iter().any(|name| name == file), "{} is missing", file.display());
    }
    // These files depend on the clock.
    let clock = ["records.json", "SHA256SUMS"];
    for file in files.iter().filter(|name| clock.iter().all(|other| name != other)) {
        let read = |run| std::fs::read(checkpoint(run, step).join(file)).unwrap();
        assert!(read(a) == read(b), "{} differs", file.display());
    }
    let rollouts = |run: &Path| std::fs::read(run.join("rollouts.jsonl")).unwrap();
    assert!(rollouts(a) == rollouts(b), "rollouts differ");
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            copy_folder(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// Makes the run in `out`, which is killed and resumed once for each delay, in milliseconds, before it may finish.
pub(crate) fn kill_and_resume(arguments: &[&str], out: &str, delays: &[u64], directory: &Path) {
    let arguments = [arguments, &["--out", out]].concat();
    let resumed = || {
        let begun = directory.join(out).join("config.toml").is_file();
        if begun { [&arguments[..], &["--resume"]].concat() } else { arguments.clone() }
    };
    let mut killed = 0;
    for delay in delays {
        let mut command = program(&resumed(), directory);
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(*delay));
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(killed > 0, "every run ended before it could be killed");
    ok(&resumed(), directory);
}
