//! The report of a comparison: the machine, a table and a JSON file.

use std::fs;
use std::process::Command;

use crate::paired::{Pairs, quantile, quartiles, show};

/// The seconds of one case, turn by turn.
#[derive(Debug)]
pub struct Timing {
    /// The name of the case.
    pub case: String,
    /// The seconds of both sides.
    pub seconds: Pairs,
}

/// Returns the titles of the columns of [`Timing::row`].
pub fn header() -> String {
    format!(
        "{:<24} {:>10} {:>10}  {:<22} {}",
        "case", "ours ms", "peer ms", "peer quartiles", "peer / ours [quartiles]"
    )
}

impl Timing {
    /// Formats one line of the table under [`header`].
    pub fn row(&self) -> String {
        let Pairs { ours, theirs } = &self.seconds;
        let [low, median, high] = quartiles(theirs).map(|seconds| seconds * 1e3);
        let ours = if ours.is_empty() { "-".to_owned() } else { format!("{:.3}", quantile(ours, 0.5) * 1e3) };
        let ratio = self.seconds.ratio().map_or("-".to_owned(), |ratio| show(ratio, 2));
        format!("{:<24} {ours:>10} {median:>10.3}  {:<22} {ratio}", self.case, format!("[{low:.3}, {high:.3}]"))
    }

    /// Formats a JSON object with the case and the seconds of every kept turn.
    fn json(&self) -> String {
        let Pairs { ours, theirs } = &self.seconds;
        let ratio = self.seconds.ratio().map_or("null".to_owned(), |ratio| format!("{ratio:?}"));
        let case = &self.case;
        format!(r#"{{"case": "{case}", "ratio_quartiles": {ratio}, "ours_s": {ours:?}, "peer_s": {theirs:?}}}"#)
    }
}

/// Writes every kept turn of every case as a JSON file, if there is a path.
///
/// # Errors
/// Returns an error that names the file if it cannot be written.
pub fn write_json(path: Option<&str>, machine: &str, timings: &[Timing]) -> Result<(), String> {
    let Some(path) = path else { return Ok(()) };
    let cases: Vec<String> = timings.iter().map(|timing| format!("    {}", timing.json())).collect();
    let text = format!("{{\n  \"machine\": {machine:?},\n  \"cases\": [\n{}\n  ]\n}}\n", cases.join(",\n"));
    fs::write(path, text).map_err(|error| format!("--json: cannot write {path}: {error}"))
}

/// Returns the processor and the compiler.
pub fn machine() -> String {
    let name = |text: String| {
        text.lines().find_map(|line| Some(line.strip_prefix("model name")?.split_once(": ")?.1.to_owned()))
    };
    let processor = fs::read_to_string("/proc/cpuinfo").ok().and_then(name);
    let processor = processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let mut rustc = Command::new("rustc");
    rustc.arg("--version");
    format!("{processor}; {}", printed(rustc).unwrap_or_else(|_| "unknown compiler".to_owned()))
}

/// Returns the versions of Python packages, as far as they are installed.
pub fn versions(python: &str, packages: &[&str]) -> String {
    let code = format!(
        "from importlib.metadata import version, PackageNotFoundError\n\
         for name in {packages:?}:\n\
         \ttry: print(name, version(name), end='  ')\n\
         \texcept PackageNotFoundError: print(name, 'absent', end='  ')"
    );
    let mut command = Command::new(python);
    command.args(["-c", &code]);
    printed(command).unwrap_or_else(|why| format!("unknown: {why}"))
}

/// Runs a command and returns its output.
///
/// # Errors
/// Returns the reason why it failed.
pub fn printed(mut command: Command) -> Result<String, String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Ok(output) => {
            let errors = String::from_utf8_lossy(&output.stderr);
            Err(crate::peer::last_error(&errors).unwrap_or("it failed without a message").to_owned())
        }
        Err(error) => Err(format!("cannot start {}: {error}", command.get_program().display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peer_can_be_timed_alone() {
        let seconds = Pairs { ours: Vec::new(), theirs: vec![3.5, 8.5] };
        let timing = Timing { case: "x".to_owned(), seconds };
        assert_eq!(timing.json(), r#"{"case": "x", "ratio_quartiles": null, "ours_s": [], "peer_s": [3.5, 8.5]}"#);
        assert!(timing.row().contains("6000.000"));
    }
}
