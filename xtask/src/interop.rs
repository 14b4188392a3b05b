//! `cargo xtask interop`: loads our checkpoints in Hugging Face transformers and compares all expected numbers.

use crate::command::{program, run as run_command};
use crate::{Args, Outcome, python};

const SCRIPT: &str = "xtask/interop/transformers_check.py";
const GOLDEN: &str = "tests/golden/hf";

/// Checks the given checkpoint folders, or else all golden ones.
pub(crate) fn run(mut args: Args) -> Outcome {
    let given = args.value("--python")?;
    let mut checkpoints = args.words();
    args.finish()?;
    if checkpoints.is_empty() {
        checkpoints = golden()?;
    }
    let mut command = program(&python::TORCH.interpreter(given)?, &[SCRIPT]);
    command.args(checkpoints).env("HF_HUB_OFFLINE", "1");
    run_command(command)
}

fn golden() -> Result<Vec<String>, String> {
    let entries = std::fs::read_dir(GOLDEN).map_err(|error| format!("cannot list {GOLDEN}: {error}"))?;
    let mut folders: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.join("config.json").is_file())
        .map(|path| path.to_string_lossy().into_owned())
        .collect();
    folders.sort();
    match folders.is_empty() {
        true => Err(format!("no checkpoint in {GOLDEN}")),
        false => Ok(folders),
    }
}
