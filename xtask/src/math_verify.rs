//! `cargo xtask math-verify`: the verifier `math` on the tables of Math-Verify's own tests.

use std::path::Path;

use crate::args::Args;
use crate::command::{Outcome, cargo, program, run as run_command};
use crate::{files, python};

/// The release whose tests are read. Only its source package has them.
const PACKAGE: &str = "math-verify==0.9.0";
const SCRIPT: &str = "xtask/math_verify/tables.py";
const FOLDER: &str = "target/math-verify";

/// Downloads the source package, reads the tables of its tests without running them, and judges each row.
pub(crate) fn run(mut args: Args) -> Outcome {
    let given: Option<String> = args.value("--python")?;
    args.finish()?;
    let python = given.or_else(|| python::system().map(str::to_owned));
    let python = &python.ok_or("python3 is not installed; install it, or name an interpreter by --python")?;
    let folder = Path::new(FOLDER);
    files::remove(folder)?;
    let download = ["-m", "pip", "download", "--no-deps", "--no-binary", ":all:", "--progress-bar", "off", "--dest"];
    run_command(program(python, &download).arg(folder).arg(PACKAGE))?;
    let archives = files::with_extension(folder, "gz")?;
    let archive = archives.first().ok_or_else(|| format!("no source package of {PACKAGE} in {FOLDER}"))?;
    let rows = folder.join("rows.jsonl");
    run_command(program(python, &[SCRIPT]).arg(archive).arg(&rows))?;
    run_command(cargo(&["run", "--quiet", "-p", "flowrl-verify", "--example", "judge_table", "--"]).arg(&rows))
}
