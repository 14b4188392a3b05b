//! Running programs: shown before they run, an error when they fail.

use crate::Outcome;
use std::cell::Cell;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

static COMPILING: AtomicU64 = AtomicU64::new(0);

/// `cargo` with these words; the one that runs this chore.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    // Chores look for what they built in target/, wherever else a person has cargo build.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
    command
}

/// `program` with these words.
pub(crate) fn program(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Nothing that `work` runs on this thread prints anything.
pub(crate) fn quietly(work: impl FnOnce()) {
    QUIET.set(true);
    work();
    QUIET.set(false);
}

/// Prints the command and runs it without standard input; its output goes where ours goes.
pub(crate) fn run(mut command: Command) -> Outcome {
    let shown = show(&command);
    if QUIET.get() {
        command.stdout(Stdio::null()).stderr(Stdio::null());
    } else {
        println!("$ {shown}");
    }
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("cannot run `{shown}`: {error}")),
    }
}

/// [`run`] for a command that compiles: its time counts as such.
pub(crate) fn compile(command: Command) -> Outcome {
    let start = Instant::now();
    let outcome = run(command);
    COMPILING.fetch_add(start.elapsed().as_millis() as u64, Ordering::Relaxed);
    outcome
}

/// How long this process has compiled so far.
pub(crate) fn compiling() -> Duration {
    Duration::from_millis(COMPILING.load(Ordering::Relaxed))
}

/// What the command prints, or None if it cannot be run or fails. Its errors are not shown.
pub(crate) fn output(mut command: Command) -> Option<String> {
    let out = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// The command as one would type it, variables first.
fn show(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.to_string_lossy(), value?.to_string_lossy())))
        .collect();
    let program = std::path::Path::new(command.get_program());
    words.push(match program.file_name() {
        Some(name) if program.is_absolute() => name.to_string_lossy().into_owned(),
        _ => program.to_string_lossy().into_owned(),
    });
    words.extend(command.get_args().map(|word| match word.to_string_lossy() {
        word if word.is_empty() => "\"\"".to_owned(),
        word => word.into_owned(),
    }));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_as_typed() {
        let mut command = program("/usr/bin/cargo", &["doc", ""]);
        command.env("RUSTDOCFLAGS", "-D warnings");
        assert_eq!(show(&command), "RUSTDOCFLAGS=\"-D warnings\" cargo doc \"\"");
    }

    #[test]
    fn failure_names_the_command() {
        assert!(run(program("no-such-program-here", &["x"])).unwrap_err().contains("no-such-program-here x"));
        assert!(run(cargo(&["no-such-subcommand"])).unwrap_err().contains("no-such-subcommand"));
        assert_eq!(output(cargo(&["no-such-subcommand"])), None);
    }
}
