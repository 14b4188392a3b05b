//! Runs a peer as a process that speaks the protocol of `benches/peers/protocol.py`.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use flowrl_cuda::Precision;

/// The environment in which peers run.
pub(crate) struct Peers {
    pub(crate) python: String,
    scripts: PathBuf,
    device: &'static str,
    dtype: &'static str,
}

/// The row of a peer.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    /// The script, relative to `benches/peers/`, and its arguments.
    words: Vec<String>,
}

impl Case {
    /// Returns a case that runs `SCRIPT MODE --calls N --SIZE N ...`.
    pub(crate) fn new(name: &'static str, script: &str, mode: &str, sizes: &[(&str, usize)], calls: u32) -> Self {
        let mut words = vec![script.to_owned(), mode.to_owned(), "--calls".to_owned(), calls.to_string()];
        words.extend(sizes.iter().flat_map(|(name, size)| [format!("--{name}"), size.to_string()]));
        Self { name, words }
    }

    /// Returns a case from a script and its arguments.
    pub(crate) const fn of(name: &'static str, words: Vec<String>) -> Self {
        Self { name, words }
    }

    /// Adds the option `--name value`.
    pub(crate) fn with(mut self, name: &str, value: String) -> Self {
        self.words.extend([format!("--{name}"), value]);
        self
    }
}

impl Peers {
    /// Looks for the scripts in `benches/peers`, next to the crate's folder. Cargo and `run.sh` both name that folder
    /// in `CARGO_MANIFEST_DIR`.
    pub(crate) fn new(python: String, smoke: bool, precision: Precision) -> Self {
        let crate_folder = std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("cuda"), PathBuf::from);
        let device = if smoke { "cpu" } else { "cuda" };
        let dtype = if precision == Precision::Bf16 { "bfloat16" } else { "float32" };
        Self { python, scripts: crate_folder.join("../benches/peers"), device, dtype }
    }

    /// Returns the versions of the Python packages that the peers use.
    pub(crate) fn versions(&self) -> String {
        let code = "from importlib.metadata import version, PackageNotFoundError\n\
                    for name in ['torch', 'triton', 'transformers', 'liger-kernel']:\n\
                    \ttry: print(name, version(name), end='  ')\n\
                    \texcept PackageNotFoundError: print(name, 'absent', end='  ')";
        let output = Command::new(&self.python).args(["-c", code]).output();
        match output {
            Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
            Ok(output) => format!("unknown: {}", last_line(&String::from_utf8_lossy(&output.stderr))),
            Err(error) => format!("unknown: cannot start {}: {error}", self.python),
        }
    }

    /// Starts the process of a case and waits until it is ready. An error says why the peer cannot run here.
    pub(crate) fn start(&self, case: &Case) -> Result<Process, String> {
        let mut command = Command::new(&self.python);
        command
            .arg(self.scripts.join(&case.words[0]))
            .args(&case.words[1..])
            .env("PEER_DEVICE", self.device)
            .env("PEER_DTYPE", self.dtype)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("cannot start {}: {error}", self.python))?;
        let (Some(input), Some(output), Some(mut errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("no pipe to the process".to_owned());
        };
        let errors = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = errors.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let mut process = Process { child, input: Some(input), output: BufReader::new(output), errors: Some(errors) };
        match process.line()?.as_str() {
            "ready" => Ok(process),
            other => Err(other.strip_prefix("absent ").unwrap_or(other).to_owned()),
        }
    }
}

/// The running process of a peer that is ready.
pub(crate) struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    errors: Option<JoinHandle<String>>,
}

impl Process {
    /// Times one call, and returns its seconds by the process's own clock.
    pub(crate) fn run(&mut self) -> Result<f64, String> {
        match self.ask("run")?[..] {
            [seconds] if seconds > 0.0 => Ok(seconds),
            ref other => Err(format!("got {other:?}, wanted the seconds of a call")),
        }
    }

    /// Sends a line and returns the numbers of the answer.
    pub(crate) fn ask(&mut self, line: &str) -> Result<Vec<f64>, String> {
        let sent = self.input.as_mut().map(|input| writeln!(input, "{line}").and_then(|()| input.flush()));
        if !matches!(sent, Some(Ok(()))) {
            return Err(self.died());
        }
        let answer = self.line()?;
        answer.split(' ').map(|word| word.parse().map_err(|_| format!("got `{answer}` to `{line}`"))).collect()
    }

    fn line(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(n) if n > 0 => Ok(line.trim().to_owned()),
            _ => Err(self.died()),
        }
    }

    /// Waits for the process to end, and returns the error message it left.
    fn died(&mut self) -> String {
        self.input = None;
        let _ = self.child.wait();
        let errors = self.errors.take().and_then(|errors| errors.join().ok()).unwrap_or_default();
        last_line(&errors)
    }
}

impl Drop for Process {
    /// Closes the input, which ends the process, and waits so that its memory is free for the next one.
    fn drop(&mut self) {
        self.input = None;
        let _ = self.child.wait();
    }
}

/// Returns the last line that contains `Error`, or else the last line.
fn last_line(text: &str) -> String {
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let named = lines().rfind(|line| line.contains("Error"));
    named.or_else(|| lines().next_back()).unwrap_or("it ended without a message").to_owned()
}
