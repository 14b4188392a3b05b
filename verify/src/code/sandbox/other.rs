//! Stands in for the sandbox on systems other than Linux, where every program is refused.

use std::path::Path;

use super::{Job, Launcher, Layers, Limits, Outcome, Permission, Report, SandboxError};

const NEEDED: &str = "it needs Linux; on Windows use WSL 2, on macOS a container or a virtual machine with Linux";

/// A sandbox; on this system there is none.
#[derive(Debug)]
pub enum Sandbox {}

impl Sandbox {
    /// Refuses: only Linux can confine programs.
    ///
    /// # Errors
    /// Always returns [`SandboxError::Refused`].
    pub fn open(_: Permission, _: Launcher, _: Option<&Path>, _: Limits) -> Result<Self, SandboxError> {
        Err(SandboxError::Refused(NEEDED.into()))
    }

    /// Returns the layers that confine programs.
    pub fn layers(&self) -> Layers {
        match *self {}
    }

    /// Returns the limits of each program.
    pub fn limits(&self) -> &Limits {
        match *self {}
    }

    /// Returns the interpreter that runs programs.
    pub fn python(&self) -> &Path {
        match *self {}
    }

    /// Returns a sentence for the user if another interpreter is used than the first on PATH.
    pub fn note(&self) -> Option<&str> {
        match *self {}
    }

    /// Returns the number of programs that may run at a time.
    pub fn threads(&self) -> usize {
        match *self {}
    }

    /// Runs one program to its end.
    ///
    /// # Errors
    /// There is no sandbox on this system, so this is never called.
    pub fn run(&self, _: &Job<'_>) -> Result<Outcome, SandboxError> {
        match *self {}
    }
}

/// Reports that nothing confines a program on this system.
pub fn probe(_: &Launcher, _: Option<&Path>) -> Report {
    Report { layers: Vec::new(), chosen: Err(NEEDED.into()) }
}

/// Refuses: only Linux can confine programs.
pub fn enter() -> ! {
    eprintln!("the sandbox {NEEDED}");
    std::process::exit(2)
}
