//! Python for the peers and the interop check: a virtual environment under `target/`, made on first use.

use crate::command::{output, program, run};
use std::path::{Path, PathBuf};

const VENV: &str = "target/venv";
/// From PyPI: on Linux its PyTorch brings the CUDA libraries along, about 3 GB to fetch, though only the CPU is used.
const PACKAGES: [&str; 3] = ["torch", "transformers", "numpy"];
const SCRIPT_FOLDERS: [&str; 2] = ["benches/peers", "xtask/interop"];

/// The system's Python, if there is one.
pub(crate) fn system() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|name| output(program(name, &["--version"])).is_some())
}

/// Every Python script of the repository.
pub(crate) fn scripts() -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    for folder in SCRIPT_FOLDERS {
        let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot list {folder}: {error}"))?;
        found.extend(
            entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "py")),
        );
    }
    found.sort();
    Ok(found)
}

/// The interpreter to use: the given one, which must have PyTorch and transformers, or that of `target/venv`.
pub(crate) fn with_torch(given: Option<String>) -> Result<String, String> {
    if let Some(python) = given {
        return match has_packages(&python) {
            true => Ok(python),
            false => Err(format!("--python: `{python}` cannot import {}", PACKAGES.join(", "))),
        };
    }
    let python = interpreter(Path::new(VENV));
    if !has_packages(&python) {
        make_venv(&python)?;
    }
    Ok(python)
}

fn make_venv(python: &str) -> Result<(), String> {
    let system = system().ok_or("no python3 here; install Python, or name an interpreter by --python")?;
    run(program(system, &["-m", "venv", VENV]))
        .map_err(|why| format!("{why}; on Debian and Ubuntu `apt-get install python3-venv` brings what it lacks"))?;
    let mut install = program(python, &["-m", "pip", "install", "--progress-bar", "off"]);
    install.args(PACKAGES);
    run(install)
}

fn has_packages(python: &str) -> bool {
    let code = format!("from importlib.util import find_spec as f\nassert all(map(f, {PACKAGES:?}))");
    output(program(python, &["-c", &code])).is_some()
}

fn interpreter(venv: &Path) -> String {
    venv.join(if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" }).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_interpreter_without_the_packages_is_refused() {
        let why = super::with_torch(Some("no-such-python".to_owned())).unwrap_err();
        assert!(why.contains("no-such-python") && why.contains("torch"), "{why}");
    }
}
