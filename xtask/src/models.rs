//! `cargo xtask interop` and `cargo xtask templates`: what we read and write, compared with Python's libraries.

use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::command::{Outcome, cargo, program, run};
use crate::files;
use crate::python::{JINJA, TORCH};

const GOLDEN: &str = "tests/golden/hf";

/// Loads the given checkpoint folders, or else all golden ones, in Hugging Face transformers, and compares all expected
/// numbers.
pub(crate) fn interop(mut args: Args) -> Outcome {
    let python = args.value("--python")?;
    let mut checkpoints: Vec<PathBuf> = args.words().into_iter().map(PathBuf::from).collect();
    args.finish()?;
    if checkpoints.is_empty() {
        checkpoints = files::list(GOLDEN)?;
        checkpoints.retain(|path| path.join("config.json").is_file());
    }
    let script = ["xtask/interop/transformers_check.py"];
    run(program(TORCH.interpreter(python)?, &script).args(checkpoints).env("HF_HUB_OFFLINE", "1"))
}

const RENDER: &str = "xtask/templates/jinja.py";

/// Packages that contain chat templates, 2.5 MB together. They are read but not installed.
const PACKAGES: [&str; 2] = ["trl==1.16.0", "axolotl==0.19.0"];

pub(crate) fn templates(mut args: Args) -> Outcome {
    let python = args.value("--python")?;
    args.finish()?;
    let python = JINJA.interpreter(python)?;
    run(program(&python, &[RENDER, "own"]))?;
    let folder = Path::new("target/templates");
    files::remove(folder)?;
    let download = ["-m", "pip", "download", "--no-deps", "--progress-bar", "off", "--dest"];
    run(program(&python, &download).arg(folder).args(PACKAGES))?;
    let real = files::absolute(folder.join("real.json"))?;
    run(program(&python, &[RENDER, "real"]).arg(&real).args(files::with_extension(folder, "whl")?))?;
    let compare = ["test", "-p", "flowrl-lm", "--test", "integration", "real_templates", "--"];
    run(cargo(&compare).args(["--include-ignored", "--nocapture"]).env("FLOWRL_TEMPLATES", real))
}
