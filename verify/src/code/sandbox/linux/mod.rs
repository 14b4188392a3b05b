//! The sandbox on Linux.

mod enter;
mod filter;
mod probe;
mod spec;
mod supervise;
mod users;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::python::Python;
use super::{End, Job, Launcher, Layers, Limits, Mode, Outcome, Permission, SandboxError};
pub use enter::enter;
pub use probe::probe;
use spec::{FAILED, Run, Spec, Task};
use users::Seat;

/// The program that prepares the interpreter, and runs the job's code in it.
const RUNNER: &str = include_str!("../runner.py");

/// Folders that every program may read: the system's programs and libraries, which are no secret.
const SYSTEM: [&str; 12] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/alternatives",
    "/etc/localtime",
    "/etc/mime.types",
    "/sys/devices/system/cpu",
];

/// Default of [`Sandbox::tries`], and the pause before the second.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(100);

/// A sandbox, which runs programs of Python, several at a time.
#[derive(Debug)]
pub struct Sandbox {
    launcher: Launcher,
    layers: Layers,
    limits: Limits,
    python: Python,
    bubblewrap: Option<PathBuf>,
    note: Option<String>,
    /// Times that a program which does not start is started.
    tries: u32,
    /// Folder of the folders of programs.
    folder: tempfile::TempDir,
}

/// Why there is no outcome.
#[derive(Debug)]
enum Stop {
    /// The program has not begun.
    NotStarted(String),
    Failed(String),
}

impl From<String> for Stop {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

impl Sandbox {
    /// Creates a sandbox with the best layers that work on this machine. `python` is the interpreter; by default it is
    /// that of the active virtual environment, or the first on PATH that can be used.
    ///
    /// # Errors
    /// Returns [`SandboxError::Refused`] if too little confines a program here, and [`SandboxError::Python`] if there
    /// is no interpreter.
    pub fn open(
        _: Permission,
        launcher: Launcher,
        python: Option<&Path>,
        limits: Limits,
    ) -> Result<Self, SandboxError> {
        Self::first(python, |python| {
            let layers = probe::look(&launcher, &python, false).chosen.map_err(SandboxError::Refused)?;
            Self::with(launcher.clone(), python, layers, limits.clone())
        })
    }

    /// Creates a sandbox of exactly these layers, which are too few for programs of strangers unless [`Self::open`] would
    /// choose them. It is here for tests of single layers.
    ///
    /// # Errors
    /// Returns [`SandboxError::Python`] if there is no interpreter.
    pub fn with_layers(
        _: Permission,
        launcher: Launcher,
        python: Option<&Path>,
        limits: Limits,
        layers: Layers,
    ) -> Result<Self, SandboxError> {
        Self::first(python, |python| {
            let mut sandbox = Self::with(launcher.clone(), python, layers, limits.clone())?;
            sandbox.tries = 1;
            sandbox.run(&Job { mode: Mode::Script, code: "", stdin: "" })?;
            sandbox.tries = TRIES;
            Ok(sandbox)
        })
    }

    /// Returns the sandbox of the first interpreter with which there is one.
    fn first(python: Option<&Path>, open: impl Fn(Python) -> Result<Self, SandboxError>) -> Result<Self, SandboxError> {
        let mut refused: Option<(PathBuf, SandboxError)> = None;
        for (program, origin) in Python::candidates(python) {
            match Python::ask(&program, origin).and_then(&open) {
                Ok(mut sandbox) => {
                    let used = sandbox.python.program.display();
                    let note = |(first, error): (PathBuf, _)| {
                        format!("code runs with {used}, because {} is of no use to it: {error}", first.display())
                    };
                    sandbox.note = refused.map(note);
                    return Ok(sandbox);
                }
                Err(error) => refused = refused.or(Some((program, error))),
            }
        }
        Err(refused.map_or_else(no_python, |(_, error)| error))
    }

    fn with(launcher: Launcher, python: Python, layers: Layers, limits: Limits) -> Result<Self, SandboxError> {
        let failed = |error: std::io::Error| SandboxError::Failed(format!("cannot make a temporary folder: {error}"));
        let folder = tempfile::Builder::new().prefix("flowrl-code-").tempdir().map_err(failed)?;
        // Users of their own pass through, but see no other's folder.
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711)).map_err(failed)?;
        Ok(Self { launcher, layers, limits, python, bubblewrap: on_path("bwrap"), note: None, tries: TRIES, folder })
    }

    /// Returns the layers that confine programs.
    pub fn layers(&self) -> Layers {
        self.layers
    }

    /// Returns the limits of each program.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the interpreter that runs programs.
    pub fn python(&self) -> &Path {
        &self.python.program
    }

    /// Returns a sentence for the user if another interpreter is used than the first on PATH.
    pub fn note(&self) -> Option<&str> {
        self.note.as_deref()
    }

    /// Returns the number of programs that should run at a time.
    pub fn threads(&self) -> usize {
        std::thread::available_parallelism().map_or(1, usize::from)
    }

    /// Runs one program to its end, after which nothing of it is left.
    ///
    /// # Errors
    /// Returns [`SandboxError::Failed`] if the sandbox itself fails, never for anything that the program does.
    pub fn run(&self, job: &Job<'_>) -> Result<Outcome, SandboxError> {
        let mut tries = 0;
        loop {
            let seat = Seat::take();
            let user = self.layers.uid.then(|| seat.user());
            let work = self.work(user).map_err(SandboxError::Failed)?;
            let outcome = self.run_in(job, user, &work);
            clear(&work);
            tries += 1;
            match outcome {
                Ok(outcome) => return Ok(outcome),
                // Nothing of the program has run. A machine that is short of processes for a moment gets another chance.
                Err(Stop::NotStarted(_)) if tries < self.tries => std::thread::sleep(PAUSE * tries),
                Err(Stop::NotStarted(reason) | Stop::Failed(reason)) => return Err(SandboxError::Failed(reason)),
            }
        }
    }

    fn run_in(&self, job: &Job<'_>, user: Option<u32>, work: &Path) -> Result<Outcome, Stop> {
        let (ready, token, secret) = (word()?, word()?, word()?);
        let spec = Spec { task: Task::Run(Box::new(self.task(work))), user, secret: secret.clone() };
        let mut command = spec.command(&self.launcher)?;
        command.current_dir(work);
        let input = input(job, &ready, &token, self.processes_inside());
        // Bubblewrap gives the program a file system in memory, which counts by itself.
        let counted = (!self.layers.bubblewrap).then_some(work);
        let kill_rest = || user.map_or(Ok(()), |user| self.kill_all(user));
        let raw = supervise::run(command, input.as_bytes(), &ready, &self.limits, counted, kill_rest)?;
        let stdout = match (raw.stdout, raw.end) {
            (Some(stdout), end) if end != End::Exited(FAILED) || !holds(&raw.stderr, &secret) => stdout,
            (_, end) => return Err(Stop::NotStarted(failure(&raw.stderr, &secret, end))),
        };
        let (answer, stdout) = match job.mode {
            Mode::Script => (None, stdout),
            _ => (answer(&stdout, &token), Vec::new()),
        };
        let end = match raw.end {
            // Bubblewrap reports a signal as a shell does.
            End::Exited(code) if self.layers.bubblewrap && code > 128 => End::Signal(code - 128),
            end => end,
        };
        Ok(Outcome { end, stdout, stderr: raw.stderr, answer, wall: raw.wall })
    }

    fn task(&self, work: &Path) -> Run {
        let system = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists());
        let own =
            self.python.paths.iter().filter(|path| !["/usr", "/lib", "/lib64"].iter().any(|s| path.starts_with(s)));
        let here = if self.layers.uid { 0 } else { users::present() };
        Run {
            layers: self.layers,
            limits: self.limits.clone(),
            processes: here + self.limits.processes,
            shared: !self.layers.uid,
            program: self.python.program.clone(),
            arguments: ["-s", "-B", "-X", "utf8", "-c", RUNNER].map(String::from).into(),
            work: work.to_owned(),
            read: system.chain(own.cloned()).collect(),
            bubblewrap: self.bubblewrap.clone(),
        }
    }

    /// Returns the limit that the runner sets within bubblewrap, where processes are counted from 0.
    fn processes_inside(&self) -> Option<u64> {
        let counts_apart = self.layers.bubblewrap && self.layers.rlimits && kernel() >= (5, 14);
        counts_apart.then_some(self.limits.processes)
    }

    /// Creates the folder of a program.
    fn work(&self, user: Option<u32>) -> Result<PathBuf, String> {
        let failed = |error: std::io::Error| format!("cannot make a temporary folder: {error}");
        let builder = || tempfile::Builder::new().prefix("run-").tempdir_in(self.folder.path());
        let path = builder().map_err(failed)?.keep();
        if let Some(user) = user {
            std::os::unix::fs::chown(&path, Some(user), Some(user)).map_err(failed)?;
        }
        Ok(path)
    }

    /// Kills every process of a user. The kernel does so at one stroke, so nothing can escape by forking.
    fn kill_all(&self, user: u32) -> Result<(), String> {
        let spec = Spec { task: Task::KillAll, user: Some(user), secret: String::new() };
        // A process of this user may kill the killer first, but not often.
        for _ in 0..20 {
            let output = spec.command(&self.launcher)?.current_dir("/").output();
            let output = output.map_err(|error| format!("cannot start a process: {error}"))?;
            match output.status.code() {
                Some(FAILED) => return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                // 1 means that there was none.
                Some(_) => return Ok(()),
                None => {}
            }
        }
        Err("processes of a program cannot be killed".into())
    }
}

/// Returns the job as the runner reads it.
fn input(job: &Job<'_>, ready: &str, token: &str, processes: Option<u64>) -> String {
    let (mode, name, test) = match job.mode {
        Mode::Script => ("script", "-", ""),
        Mode::Call { name, arguments } => ("call", name, arguments),
        Mode::Check(test) => ("check", "-", test),
    };
    let processes = processes.map_or("-".into(), |count| count.to_string());
    let sizes = (job.code.len(), test.len());
    format!("{ready} {token} {mode} {processes} {name} {} {}\n{}{test}{}", sizes.0, sizes.1, job.code, job.stdin)
}

/// Returns the text after the token that only the runner knows.
fn answer(stdout: &[u8], token: &str) -> Option<String> {
    let text = stdout.strip_prefix(token.as_bytes())?.strip_prefix(b" ")?;
    Some(String::from_utf8_lossy(text).into_owned())
}

/// Says why a program never started.
fn failure(stderr: &[u8], secret: &str, end: End) -> String {
    let text = String::from_utf8_lossy(stderr);
    let own = text.lines().find_map(|line| line.strip_prefix(secret)).map(str::trim);
    match (own, last_line(stderr)) {
        (Some(reason), _) => reason.to_owned(),
        (None, line) if line.is_empty() => format!("the interpreter did not start ({end:?})"),
        (None, line) => format!("the interpreter did not start: {line}"),
    }
}

fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("").trim().to_owned()
}

fn holds(bytes: &[u8], word: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(word)
}

fn no_python() -> SandboxError {
    SandboxError::Python("there is no python3 on PATH: install Python 3, or name an interpreter with --python".into())
}

/// Returns a word that nobody can guess.
fn word() -> Result<String, String> {
    let mut bytes = [0; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.map_err(|error| format!("cannot read /dev/urandom: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Finds a program on PATH.
fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|program| program.is_file())
}

/// Returns the version of the kernel; 0 if it is unknown.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Removes the folder of a program, also one with folders that nobody may enter.
fn clear(folder: &Path) {
    fn open(folder: &Path) {
        drop(std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)));
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).for_each(|entry| open(&entry.path()));
    }
    if std::fs::remove_dir_all(folder).is_err() {
        open(folder);
        drop(std::fs::remove_dir_all(folder));
    }
}
