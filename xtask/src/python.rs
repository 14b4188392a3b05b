//! Python for the chores that need its packages: virtual environments under `target/`, created on first use.

use std::path::Path;

use crate::command::{Check, Unpassed, output, program, run};
use crate::install;

/// A virtual environment and its packages. All are installed by one command, so that no package can undo another's
/// pins.
pub(crate) struct Environment {
    folder: &'static str,
    packages: &'static [&'static str],
}

/// PyTorch and transformers. On Linux, PyTorch from PyPI brings CUDA libraries of about 3 GB, although only the CPU is
/// used.
pub(crate) const TORCH: Environment =
    Environment { folder: "target/venv", packages: &["torch", "transformers", "numpy"] };

/// gfnx, 0.9 GB with its dependencies. It does not declare that it needs equinox and optax.
pub(crate) const GFNX: Environment =
    Environment { folder: "target/venv-gfnx", packages: &["gfnx==0.0.1", "jax", "equinox", "optax"] };

/// NVIDIA's compiler for kernels with its assembler, 0.1 GB. It runs without a GPU.
pub(crate) const NVRTC: Environment =
    Environment { folder: "target/venv-nvrtc", packages: &["nvidia-cuda-nvrtc-cu12==12.9.86"] };

/// Zig, which links for any version of glibc, and a cargo subcommand that uses it, 0.1 GB.
pub(crate) const ZIG: Environment =
    Environment { folder: "target/venv-zig", packages: &["ziglang==0.15.2", "cargo-zigbuild==0.22.3"] };

/// The experiment trackers, 0.5 GB. MLflow comes without its server, but with the packages for a local database.
pub(crate) const TRACKERS: Environment = Environment {
    folder: "target/venv-trackers",
    packages: &[
        "tensorboard==2.21.0",
        "wandb==0.31.0",
        "trackio==0.43.0",
        "mlflow-skinny==3.17.2",
        "sqlalchemy==2.1.9",
        "alembic==1.20.1",
    ],
};

/// The template engine that transformers renders chat templates with.
pub(crate) const JINJA: Environment = Environment { folder: "target/venv-jinja", packages: &["jinja2==3.1.6"] };

/// Returns the name of the system's Python, if there is one.
pub(crate) fn system() -> Option<&'static str> {
    ["python3", "python"].into_iter().find(|name| install::is_there(name))
}

impl Environment {
    /// Returns the interpreter to use: the given one, which must have the packages, or that of the virtual environment,
    /// which is installed if necessary.
    pub(crate) fn interpreter(&self, given: Option<String>) -> Result<String, String> {
        if let Some(python) = given {
            return match self.is_in(&python) {
                true => Ok(python),
                false => Err(format!("--python: `{python}` lacks {}", self.names().join(", "))),
            };
        }
        let python = if cfg!(windows) { "Scripts/python.exe" } else { "bin/python" };
        let python = Path::new(self.folder).join(python).to_string_lossy().into_owned();
        if !self.is_in(&python) {
            self.install(&python)?;
        }
        Ok(python)
    }

    /// Installs the packages, which are for Linux. A check that needs them is skipped if that fails.
    pub(crate) fn required(&self) -> Check {
        let packages = self.names().join(", ");
        let installed = match system() {
            _ if !cfg!(target_os = "linux") => Err(format!("{packages} from PyPI is for Linux only")),
            None => Err(format!("python3 is not installed, and is needed to fetch {packages}")),
            Some(_) => self.interpreter(None).map_err(|why| format!("{packages} cannot be fetched: {why}")),
        };
        installed.map(|_| ()).map_err(Unpassed::Skipped)
    }

    fn install(&self, python: &str) -> Result<(), String> {
        let system = system().ok_or("python3 is not installed; install it, or name an interpreter by --python")?;
        run(program(system, &["-m", "venv", self.folder])).map_err(|why| {
            format!("{why}; on Debian and Ubuntu, `apt-get install python3-venv` installs the missing module")
        })?;
        run(program(python, &["-m", "pip", "install", "--progress-bar", "off"]).args(self.packages))
    }

    fn is_in(&self, python: &str) -> bool {
        let code = format!("from importlib.metadata import version\nlist(map(version, {:?}))", self.names());
        output(program(python, &["-c", &code])).is_some()
    }

    fn names(&self) -> Vec<&'static str> {
        self.packages.iter().map(|package| package.split("==").next().unwrap_or(package)).collect()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_interpreter_without_the_packages_is_refused() {
        let why = super::TORCH.interpreter(Some("no-such-python".to_owned())).unwrap_err();
        assert!(why.contains("no-such-python") && why.contains("torch"), "{why}");
        assert_eq!(super::GFNX.names(), ["gfnx", "jax", "equinox", "optax"]);
    }
}
