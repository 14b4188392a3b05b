//! `cargo xtask templates`: renders chat templates of real models here and with jinja2, and compares them.

use crate::command::{cargo, program, run as run_command};
use crate::{Args, Outcome, files, python};
use std::path::{Path, PathBuf};

const SCRIPT: &str = "xtask/templates/jinja.py";

/// Packages that contain chat templates, 2.5 MB together. They are read but not installed.
const PACKAGES: [&str; 2] = ["trl==1.16.0", "axolotl==0.19.0"];

/// Rewrites `lm/tests/templates/expected.json`, and prints how the renderings of the packages' templates compare.
pub(crate) fn run(mut args: Args) -> Outcome {
    let given = args.value("--python")?;
    args.finish()?;
    let python = python::JINJA.interpreter(given)?;
    run_command(program(&python, &[SCRIPT, "own"]))?;
    let folder = Path::new("target/templates");
    files::remove(folder)?;
    let mut download = program(&python, &["-m", "pip", "download", "--no-deps", "--progress-bar", "off", "--dest"]);
    download.arg(folder).args(PACKAGES);
    run_command(download)?;
    let wheels: Vec<PathBuf> =
        files::list(folder)?.into_iter().filter(|path| path.extension().is_some_and(|e| e == "whl")).collect();
    let real = folder.join("real.json");
    let mut render = program(&python, &[SCRIPT, "real"]);
    render.arg(&real).args(wheels);
    run_command(render)?;
    let mut compare = cargo(&["test", "-p", "flowrl-lm", "--test", "integration", "real_templates", "--"]);
    compare.args(["--include-ignored", "--nocapture"]);
    let absolute = std::path::absolute(&real).map_err(|error| format!("{}: {error}", real.display()))?;
    compare.env("FLOWRL_TEMPLATES", absolute);
    run_command(compare)
}
