//! `cargo xtask trackers`: kills and resumes runs with every experiment tracker, and compares the records that the
//! trackers' own readers find.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use crate::args::Args;
use crate::command::{CLI, Outcome, build_cli, program, run as run_command};
use crate::files;
use crate::python::TRACKERS;

const FOLDER: &str = "target/trackers";
const CHECK: &str = "xtask/trackers/check.py";

/// The runs by name, with the options of `train`. Checkpoints are far enough apart that a kill leaves records after the
/// last one, which the resumed run makes again.
const CASES: [(&str, &str); 2] = [
    (
        "lab",
        "--task hypergrid --steps 400 --set side=8 --set dim=3 --set batch=256 --set eval.every=5 --set run.save_every=20",
    ),
    (
        "countdown",
        "--steps 60 --set train.prompts=4 --set train.samples=4 --set eval.prompts=8 --set eval.samples=4 --set eval.every=7 \
         --set run.save_every=10",
    ),
];

pub(crate) fn run(mut args: Args) -> Outcome {
    let given = args.value("--python")?;
    args.finish()?;
    let python = TRACKERS.interpreter(given)?;
    build_cli()?;
    files::remove(Path::new(FOLDER))?;
    for (name, words) in CASES {
        let out = Path::new(FOLDER).join(name);
        let mut begin = train(&python, &out);
        begin.args(words.split_whitespace()).args(["--tracker", "tensorboard,wandb,trackio,mlflow"]);
        kill(begin, &out)?;
        // The trackers of the killed run may still be writing.
        sleep(Duration::from_secs(10));
        run_command(train(&python, &out).arg("--resume"))?;
        run_command(program(&python, &[CHECK]).arg(&out))?;
    }
    Ok(())
}

fn train(python: &str, out: &Path) -> Command {
    let mut command = program(CLI, &["train", "--python", python, "--out"]);
    command.arg(out).env("WANDB_MODE", "offline");
    command
}

/// Starts a run and kills it when it has written two records after a checkpoint.
fn kill(mut command: Command, out: &Path) -> Outcome {
    let failed = |error: std::io::Error| format!("cannot run {CLI}: {error}");
    let mut child = command.stdin(Stdio::null()).spawn().map_err(failed)?;
    let records = || std::fs::read_to_string(out.join("metrics.jsonl")).map_or(0, |text| text.lines().count());
    let is_whole = |checkpoint: &PathBuf| checkpoint.join("SHA256SUMS").is_file() && checkpoint.extension().is_none();
    let is_saved = || files::list(out.join("checkpoints")).is_ok_and(|all| all.iter().any(is_whole));
    let mut saved = None;
    while saved.is_none_or(|saved| records() <= saved + 1) {
        if child.try_wait().map_err(failed)?.is_some() {
            return Err(format!("{} ended before it could be killed", out.display()));
        }
        if saved.is_none() && is_saved() {
            saved = Some(records());
        }
        sleep(Duration::from_millis(1));
    }
    child.kill().and_then(|()| child.wait()).map_err(failed)?;
    println!("killed after {} records", records());
    Ok(())
}
