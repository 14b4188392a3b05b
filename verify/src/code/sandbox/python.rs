//! The interpreter that runs programs, and the files that it needs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::SandboxError;

/// An interpreter that a confined program can use.
#[derive(Clone, Debug)]
pub(super) struct Python {
    /// Path of the interpreter itself, not of a wrapper that chooses one.
    pub program: PathBuf,
    /// Files and folders that it reads.
    pub paths: Vec<PathBuf>,
}

/// Prints the interpreter's path, then the paths that it reads: the folders of its installation and the libraries it has loaded.
const ASK: &str = "import sys, os\n\
    print('flowrl', sys.executable, sep='\\n')\n\
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix]\n\
    try:\n\
    \x20   paths += {line.split(maxsplit=5)[5].strip() for line in open('/proc/self/maps') if '/' in line}\n\
    except OSError:\n\
    \x20   pass\n\
    print(*paths, sep='\\n')";

impl Python {
    /// Finds the interpreters to try, in order: `given`, or that of the active virtual environment, or every `python3` on PATH.
    pub(super) fn candidates(given: Option<&Path>) -> Vec<(PathBuf, &'static str)> {
        if let Some(program) = given {
            return vec![(program.to_owned(), "--python")];
        }
        if let Some(folder) = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()) {
            return vec![(Path::new(&folder).join("bin/python"), "VIRTUAL_ENV")];
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let programs = std::env::split_paths(&path).map(|folder| folder.join("python3"));
        programs.filter(|program| program.is_file()).map(|program| (program, "PATH")).collect()
    }

    /// Asks an interpreter for its paths.
    pub(super) fn ask(program: &Path, origin: &str) -> Result<Self, SandboxError> {
        let failed = |why: &str| {
            let remedy = "install Python 3, or name an interpreter with --python";
            SandboxError::Python(format!("cannot run {} (from {origin}): {why}; {remedy}", program.display()))
        };
        let mut command = Command::new(program);
        command.args(["-s", "-B", "-c", ASK]).stdin(Stdio::null());
        let output = command.output().map_err(|error| failed(&error.to_string()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        let mut lines = said.lines().skip_while(|line| *line != "flowrl").skip(1);
        let Some(executable) = lines.next().filter(|_| output.status.success()) else {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(failed(errors.lines().last().unwrap_or("it printed no path")));
        };
        let mut python = Self { program: executable.into(), paths: Vec::new() };
        for path in lines.map(PathBuf::from).filter(|path| path.is_absolute() && path.exists()) {
            python.admit(path, origin)?;
        }
        Ok(python)
    }

    /// Adds a path, unless it holds the user's home.
    fn admit(&mut self, path: PathBuf, origin: &str) -> Result<(), SandboxError> {
        let real = path.canonicalize().unwrap_or_else(|_| path.clone());
        let home = std::env::home_dir().filter(|home| home.is_absolute() && home.components().count() > 1);
        let home = home.map(|home| home.canonicalize().unwrap_or(home));
        if real.parent().is_none() || home.is_some_and(|home| home.starts_with(&real)) {
            return Err(SandboxError::Python(format!(
                "the interpreter {} (from {origin}) is installed in {}, which holds more than Python and which programs could read: \
                 make a virtual environment with another interpreter, or name one with --python",
                self.program.display(),
                path.display()
            )));
        }
        for path in [path, real] {
            if !self.paths.iter().any(|known| path.starts_with(known)) {
                self.paths.push(path);
            }
        }
        Ok(())
    }
}
