//! Runs programs. They are printed before they run, and their failure is an error.

use std::borrow::BorrowMut;
use std::cell::{Cell, RefCell};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The result of a chore. The error says why it failed.
pub(crate) type Outcome = Result<(), String>;

pub(crate) type Check = Result<(), Unpassed>;

/// The reason why a check has not passed.
pub(crate) enum Unpassed {
    /// It cannot run here.
    Skipped(String),
    Failed(String),
}

impl From<String> for Unpassed {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

impl From<Unpassed> for String {
    fn from((Unpassed::Skipped(why) | Unpassed::Failed(why)): Unpassed) -> Self {
        why
    }
}

/// The crates that tests and checks compile together. With fewer crates in a build, features would differ and most
/// crates would be compiled again. `flowrl-bindgen`, which writes the bindings, is left out because it has its own
/// profile.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "flowrl-bindgen"];

/// Returns a command for the cargo that runs this chore, with these arguments.
pub(crate) fn cargo(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words);
    // Chores expect their build products in target/, even if the user has set another folder.
    command.env_remove("CARGO_TARGET_DIR").env_remove("CARGO_BUILD_TARGET_DIR");
    command
}

/// Returns a command for cargo that works on all crates which are compiled together.
pub(crate) fn cargo_workspace(subcommand: &str, words: &[&str]) -> Command {
    let mut command = cargo(&[subcommand]);
    command.args(WORKSPACE).args(words);
    command
}

/// Returns the `i`-th of any number of shares in [0, 1) that are spread evenly: multiples of the golden ratio modulo 1.
pub(crate) fn share(i: u32) -> f64 {
    (f64::from(i) + 0.5) * 0.618_033_988_749 % 1.0
}

/// The release build of flowrl-cli.
pub(crate) const CLI: &str = "target/release/flowrl-cli";

pub(crate) fn build_cli() -> Outcome {
    compile(cargo(&["build", "--release", "-p", "flowrl-cli"]))
}

pub(crate) fn program(program: impl AsRef<OsStr>, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words);
    command
}

thread_local! {
    /// The file that receives this thread's output instead of the terminal.
    static OUTPUT: RefCell<Option<File>> = const { RefCell::new(None) };
    static COMPILING: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Returns the result of `work` and the output of its commands on this thread, which is not printed.
pub(crate) fn captured<R>(work: impl FnOnce() -> R) -> (R, String) {
    let name = format!("output-{}-{:?}.txt", std::process::id(), std::thread::current().id());
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../target")).join(name);
    // If the file cannot be created, the output goes to the terminal as it comes.
    OUTPUT.set(File::create(&path).ok());
    let result = work();
    OUTPUT.set(None);
    let said = std::fs::read(&path).unwrap_or_default();
    let _ = std::fs::remove_file(&path);
    (result, String::from_utf8_lossy(&said).into_owned())
}

pub(crate) fn tell(text: &str) {
    OUTPUT.with_borrow_mut(|output| match output {
        None => println!("{text}"),
        Some(file) => _ = writeln!(file, "{text}"),
    });
}

/// Prints the command and runs it without standard input; its output goes where ours goes.
pub(crate) fn run(mut command: impl BorrowMut<Command>) -> Outcome {
    let command = command.borrow_mut();
    let shown = show(command);
    tell(&format!("$ {shown}"));
    OUTPUT.with_borrow(|output| {
        let copy = || output.as_ref().and_then(|file| file.try_clone().ok());
        if let (Some(out), Some(errors)) = (copy(), copy()) {
            command.stdout(out).stderr(errors);
        }
    });
    match command.stdin(Stdio::null()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}` ended with {status}")),
        Err(error) => Err(format!("cannot run `{shown}`: {error}")),
    }
}

/// Runs a command like [`run`], and counts its time as compiling.
pub(crate) fn compile(command: impl BorrowMut<Command>) -> Outcome {
    let start = Instant::now();
    let outcome = run(command);
    COMPILING.set(compiling() + start.elapsed());
    outcome
}

/// Returns how long this thread has compiled so far.
pub(crate) fn compiling() -> Duration {
    COMPILING.get()
}

/// Returns the value of a variable such as PATH with a folder put before the others.
pub(crate) fn searched_first(variable: &str, folder: &Path) -> Result<OsString, String> {
    let others = std::env::var_os(variable).unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&others));
    std::env::join_paths(folders).map_err(|error| format!("{variable}: {error}"))
}

/// Starts a command without input, and discards its output.
pub(crate) fn start(mut command: Command) -> Result<Child, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("cannot run `{}`: {error}", show(command)))
}

/// Returns the output of a command, or None if it cannot be run or fails. Its stderr is discarded.
pub(crate) fn output(mut command: impl BorrowMut<Command>) -> Option<String> {
    let out = command.borrow_mut().stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    out.status.success().then(|| String::from_utf8_lossy(&out.stdout).trim().to_owned())
}

/// Returns the output of a command that must succeed.
pub(crate) fn printed(mut command: impl BorrowMut<Command>) -> Result<String, String> {
    let command = command.borrow_mut();
    output(&mut *command).ok_or_else(|| format!("`{}` failed; run it by hand to see why", show(command)))
}

/// Formats a command as one would type it, with its variables first.
fn show(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.to_string_lossy(), value?.to_string_lossy())))
        .collect();
    let program = Path::new(command.get_program());
    words.push(match program.file_name() {
        Some(name) if program.is_absolute() => name.to_string_lossy().into_owned(),
        _ => program.to_string_lossy().into_owned(),
    });
    let quoted = |word: &OsStr| if word.is_empty() { "\"\"".to_owned() } else { word.to_string_lossy().into_owned() };
    words.extend(command.get_args().map(quoted));
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
    fn what_a_thread_prints_is_captured_in_order() {
        let ((), said) = captured(|| {
            tell("first");
            run(program("sh", &["-c", "echo second; echo third >&2"])).unwrap();
        });
        assert_eq!(said, "first\n$ sh -c echo second; echo third >&2\nsecond\nthird\n");
    }

    #[test]
    fn failure_names_the_command() {
        assert!(run(program("no-such-program-here", &["x"])).unwrap_err().contains("no-such-program-here x"));
        assert!(run(cargo(&["no-such-subcommand"])).unwrap_err().contains("no-such-subcommand"));
        assert_eq!(output(cargo(&["no-such-subcommand"])), None);
    }
}
