//! The Python interpreter that runs Python libraries and functions.

use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::process::{Command, Stdio};

use flowrl_core::task::JudgeError;

/// A Python interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Python {
    program: PathBuf,
    /// Flag or variable that chose this interpreter, for messages.
    origin: &'static str,
}

impl Python {
    /// Returns the interpreter `given`, or that of the active virtual environment, or the first on PATH.
    ///
    /// # Errors
    /// Returns an error if VIRTUAL_ENV has no interpreter.
    pub fn find(given: Option<&Path>) -> Result<Self, JudgeError> {
        let environment = std::env::var_os("VIRTUAL_ENV").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        let inside = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        match (given, environment) {
            (Some(program), _) => Ok(Self { program: program.to_owned(), origin: "--python" }),
            (None, Some(folder)) => {
                let program = folder.join(inside);
                if !program.is_file() {
                    return Err(format!(
                        "VIRTUAL_ENV is {}, but there is no {inside} in it: activate another, or name an interpreter with --python",
                        folder.display()
                    )
                    .into());
                }
                Ok(Self { program, origin: "VIRTUAL_ENV" })
            }
            (None, None) => {
                let name = if cfg!(windows) { "python" } else { "python3" };
                Ok(Self { program: name.into(), origin: "PATH" })
            }
        }
    }

    /// Checks that the interpreter can be run and has a module, without importing it. On PyPI the module has the same
    /// name.
    ///
    /// # Errors
    /// Returns an error that names the interpreter, its origin and the package to install.
    pub fn require(&self, module: &str) -> Result<(), JudgeError> {
        // A folder of this name in the working directory is not the module: its spec has no origin.
        const LOOK: &str = "import sys\nsys.path[:] = [path for path in sys.path if path]\nfrom importlib.util import find_spec\n\
                            spec = find_spec(sys.argv[1])\nprint(sys.executable)\nprint(bool(spec and spec.origin))";
        let Self { program, origin } = self;
        let failed = || {
            let shown = program.display();
            format!("cannot run {shown} (from {origin}); install Python 3, or name an interpreter with --python")
        };
        let output = self.command(LOOK).arg(module).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("{}: {error}", failed()))?;
        let said = String::from_utf8_lossy(&output.stdout);
        // Lines that the installation prints at start-up come first.
        let lines: Vec<&str> = said.lines().collect();
        match lines[..] {
            [.., _, "True"] => Ok(()),
            [.., executable, "False"] => {
                Err(format!(
                    "`{module}` is not installed in {executable}: run `{executable} -m pip install {module}`, or name another with --python"
                )
                .into())
            }
            _ => {
                let errors = String::from_utf8_lossy(&output.stderr);
                Err(format!("{}: {}", failed(), errors.lines().last().unwrap_or("it printed no error")).into())
            }
        }
    }

    /// Returns a command that runs `script`.
    pub fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(script);
        command
    }
}

/// Returns whether an interpreter is given by its path. A bare name is looked up on PATH.
pub fn is_path(program: &str) -> bool {
    program.contains(['/', MAIN_SEPARATOR])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_that_is_not_there_is_named_with_its_origin() {
        let python = Python::find(Some(Path::new("/no/such/python"))).unwrap();
        let error = python.require("json").unwrap_err().to_string();
        assert!(error.contains("cannot run /no/such/python (from --python)"), "{error}");
    }
}
