//! The rows of peers: scripts in `benches/peers/`.

use std::path::PathBuf;
use std::process::Command;

use flowrl_benches::peer::Peer;
use flowrl_benches::report;
use flowrl_cuda::Precision;

/// The environment in which peers run.
pub(crate) struct Peers {
    python: String,
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
        report::versions(&self.python, &["torch", "triton", "transformers", "liger-kernel"])
    }

    /// Starts the process of a case and waits until it is ready. An error says why the peer cannot run here.
    pub(crate) fn start(&self, case: &Case) -> Result<Peer, String> {
        let mut command = Command::new(&self.python);
        command.arg(self.scripts.join(&case.words[0])).args(&case.words[1..]);
        command.env("PEER_DEVICE", self.device).env("PEER_DTYPE", self.dtype).env("PYTHONDONTWRITEBYTECODE", "1");
        Peer::start(command)
    }
}
