//! Runs one program of a stranger with as little power as this machine can take from it.
//!
//! A program runs in a process of its own that confines itself and then becomes the Python interpreter. The confining
//! process is this executable, started again through a [`Launcher`]; its `main` calls [`enter`].

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod other;
#[cfg(target_os = "linux")]
mod python;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[cfg(target_os = "linux")]
pub use linux::{Sandbox, enter, probe};
#[cfg(not(target_os = "linux"))]
pub use other::{Sandbox, enter, probe};

/// The flag that allows the execution of code, as messages name it.
pub const FLAG: &str = "--allow-code-execution";

/// Reasons why a program cannot be run. None of them is the program's own fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// The user has not allowed it.
    #[error("the verifier `code` runs programs that a model wrote; allow this with {FLAG}")]
    NotAllowed,
    /// Nothing on this machine confines a program.
    #[error("the verifier `code` cannot run programs on this machine: {0}")]
    Refused(String),
    /// There is no interpreter that the sandbox can use.
    #[error("{0}")]
    Python(String),
    /// A sandbox that worked before does not now.
    #[error("the sandbox of the verifier `code` failed: {0}")]
    Failed(String),
}

/// Proof that the user allows the execution of code; [`Sandbox::open`] asks for it.
#[derive(Clone, Copy, Debug)]
pub struct Permission(());

impl Permission {
    /// Returns the permission if the flag [`FLAG`] is given.
    ///
    /// # Errors
    /// Returns [`SandboxError::NotAllowed`], which names the flag.
    pub fn from_flag(given: bool) -> Result<Self, SandboxError> {
        if given { Ok(Self(())) } else { Err(SandboxError::NotAllowed) }
    }
}

/// The program that confines itself by calling [`enter`], usually this one.
#[derive(Clone, Debug)]
pub struct Launcher {
    /// The executable.
    pub program: PathBuf,
    /// Arguments that lead it to [`enter`].
    pub arguments: Vec<OsString>,
}

impl Launcher {
    /// Returns a launcher that starts this executable again with these arguments.
    pub fn this_program<A: Into<OsString>>(arguments: impl IntoIterator<Item = A>) -> Self {
        // By this path a user may execute it who may not enter its folder.
        let program = "/proc/self/exe".into();
        Self { program, arguments: arguments.into_iter().map(Into::into).collect() }
    }
}

/// Limits of one program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Limits {
    /// Processor time of each of its processes, rounded up to seconds.
    pub cpu: Duration,
    /// Time by the clock, counted from the moment at which the interpreter is ready.
    pub wall: Duration,
    /// Time by the clock until the interpreter is ready. Longer is a failure of the sandbox.
    pub start: Duration,
    /// Address space of each of its processes, in bytes.
    pub memory: u64,
    /// Size of all its files together, in bytes.
    pub disk: u64,
    /// Size of its output, in bytes.
    pub output: usize,
    /// Its processes and threads.
    pub processes: u64,
    /// Open files of each of its processes.
    pub files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            cpu: Duration::from_secs(10),
            wall: Duration::from_secs(20),
            start: Duration::from_secs(60),
            memory: 2 << 30,
            disk: 16 << 20,
            output: 16 << 20,
            processes: 64,
            files: 128,
        }
    }
}

/// The layers that confine a program.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Layers {
    /// An unprivileged user of its own, which only root can give it.
    pub uid: bool,
    /// Limits of the kernel on time, memory, files and processes.
    pub rlimits: bool,
    /// Namespaces by bubblewrap: own files, processes and network.
    pub bubblewrap: bool,
    /// Landlock: the files that it may open.
    pub landlock: bool,
    /// A filter of system calls.
    pub seccomp: bool,
}

impl std::fmt::Display for Layers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [
            (self.uid, "own user"),
            (self.bubblewrap, "bubblewrap"),
            (self.landlock, "landlock"),
            (self.seccomp, "seccomp"),
            (self.rlimits, "limits"),
        ];
        let names: Vec<_> = named.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(&if names.is_empty() { "nothing".into() } else { names.join(", ") })
    }
}

/// How each layer fared when it was tried, from [`probe`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Report {
    /// One entry per layer: its name, and why it does not work if so.
    pub layers: Vec<(&'static str, Result<(), String>)>,
    /// The layers that [`Sandbox::open`] would use, or the sentence with which it refuses.
    pub chosen: Result<Layers, String>,
}

impl std::fmt::Display for Report {
    /// Writes one line per layer and one with the choice.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, result) in &self.layers {
            match result {
                Ok(()) => writeln!(f, "{name}: works")?,
                Err(reason) => writeln!(f, "{name}: {reason}")?,
            }
        }
        match &self.chosen {
            Ok(layers) => write!(f, "code: runs with {layers}"),
            Err(reason) => write!(f, "code: refused, {reason}"),
        }
    }
}

/// A program and its input.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// The way to run it.
    pub mode: Mode<'a>,
    /// Its source text.
    pub code: &'a str,
    /// Its standard input.
    pub stdin: &'a str,
}

/// Ways to run a program.
#[derive(Clone, Copy, Debug)]
pub enum Mode<'a> {
    /// As a script that reads standard input and prints.
    Script,
    /// Calls a function, or a method of a class `Solution`, with a JSON list of arguments; [`Outcome::answer`] is what
    /// it returns, as JSON.
    Call {
        /// Name of the function.
        name: &'a str,
        /// The arguments, a JSON list.
        arguments: &'a str,
    },
    /// Runs test code after the program; [`Outcome::answer`] is `passed`, or `assertion` and its message.
    Check(&'a str),
}

/// End and output of a program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// How it ended.
    pub end: End,
    /// Its output, at most [`Limits::output`] bytes.
    pub stdout: Vec<u8>,
    /// The last few kB of its errors.
    pub stderr: Vec<u8>,
    /// The answer in the modes [`Mode::Call`] and [`Mode::Check`], if it came so far.
    pub answer: Option<String>,
    /// Time from the start of the program to its end.
    pub wall: Duration,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By itself, with this status.
    Exited(i32),
    /// By a signal, often of the kernel.
    Signal(i32),
    /// It took too long.
    Timeout,
    /// It printed too much.
    Output,
    /// It wrote too much into files.
    Disk,
}
