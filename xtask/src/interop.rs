//! `cargo xtask interop`: Hugging Face transformers reads our checkpoints and finds the numbers we expect.

use crate::command::{program, run as run_command};
use crate::{Args, Outcome, python};

const SCRIPT: &str = "xtask/interop/transformers_check.py";
const GOLDEN: &str = "tests/golden/hf";

/// Checks the named checkpoint folders, or all golden ones.
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
