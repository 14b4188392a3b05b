//! A tracker that is a Python library: a process of its own gets the records as lines of JSON. Training never waits for it, and it ends no
//! run.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value as Json;

use crate::signals::Signal;
use crate::{progress, signals, warn};

/// Runs in Python.
pub(super) const SCRIPT: &str = include_str!("worker.py");

/// Records that may wait for the process; of a language model each is a few kilobytes.
const WAITING: usize = 4096;

/// A process under way.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    /// What the process says.
    log: PathBuf,
    process: u32,
    lines: Option<SyncSender<String>>,
    /// Whether the process came to its own end.
    ended: Receiver<bool>,
    lost: u64,
}

/// What became of a process at the end of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has handed over everything.
    Done,
    /// It failed before.
    Failed,
    /// It is still at work.
    Left,
}

impl Worker {
    /// Starts `command`, whose standard error goes to the file `log`, and sends it the first line.
    ///
    /// # Errors
    /// A command that cannot be run, a file that cannot be written.
    pub(super) fn start(mut command: Command, name: &'static str, log: &Path, begin: &Json) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        // Ctrl-C in a terminal signals a whole group.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, 0x200);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file).spawn();
        let mut child = child.with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let process = child.id();
        let (lines, waiting) = sync_channel(WAITING);
        let (say, ended) = channel();
        if let Some(stdin) = child.stdin.take() {
            thread::spawn(move || write(stdin, &waiting));
        }
        let seen = log.to_owned();
        thread::spawn(move || read(child, name, &seen, &say));
        let mut worker = Self { name, log: log.to_owned(), process, lines: Some(lines), ended, lost: 0 };
        worker.send(begin);
        Ok(worker)
    }

    /// Hands over a line, unless too many wait or nobody reads.
    pub(super) fn send(&mut self, line: &Json) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(format!("{line}\n")) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                let (name, log) = (self.name, self.log.display());
                warn!(
                    "{name} is {WAITING} records behind: it does not get those that come until it catches up; see {log}"
                );
            }
            // The reader of its answers tells of its end.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Sends the last line, once, and waits until the process has handed over everything, but not beyond `deadline` or a signal other than
    /// `stop`.
    pub(super) fn finish(&mut self, last: &Json, deadline: Instant, stop: Option<Signal>) -> End {
        const POLL: Duration = Duration::from_millis(20);
        let mut last = Some(format!("{last}\n"));
        loop {
            if let (Some(line), Some(lines)) = (last.take(), &self.lines) {
                match lines.try_send(line) {
                    Err(TrySendError::Full(line)) => last = Some(line),
                    // Its input ends behind the last line.
                    _ => self.lines = None,
                }
            }
            match self.ended.recv_timeout(POLL) {
                Ok(true) => return End::Done,
                Ok(false) | Err(RecvTimeoutError::Disconnected) => return End::Failed,
                Err(RecvTimeoutError::Timeout) if Instant::now() >= deadline || signals::stop() != stop => {
                    return End::Left;
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Says at the end of a run what the tracker lacks.
    pub(super) fn tell(&self, end: &End) {
        let Self { name, process, lost, .. } = self;
        let log = self.log.display();
        match end {
            End::Failed => {
                warn!(
                    "{name} failed during the run: it may lack any of the records, all of which are in metrics.jsonl; see {log}"
                )
            }
            End::Left => warn!(
                "{name} has not handed over everything yet: process {process} is left behind with that; see {log}"
            ),
            End::Done if *lost > 0 => {
                warn!("{name} lacks {lost} records, which came faster than it took them; all are in metrics.jsonl")
            }
            End::Done => {}
        }
    }
}

/// Writes what comes until nobody sends or reads any more.
fn write(mut stdin: ChildStdin, waiting: &Receiver<String>) {
    for line in waiting {
        if stdin.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Reads the answers of the process until it ends.
fn read(mut child: Child, name: &str, log: &Path, ended: &Sender<bool>) {
    let mut error = None;
    for line in child.stdout.take().into_iter().flat_map(|out| BufReader::new(out).lines()).map_while(Result::ok) {
        let Ok(answer) = serde_json::from_str::<Json>(&line) else { continue };
        if answer["done"] == true {
            // Nobody listens where the run has ended.
            let _ = ended.send(true);
            let _ = child.wait();
            return;
        }
        if let Some(note) = answer["note"].as_str() {
            progress::note(&format_args!("{name}: {note}"));
        }
        error = answer["error"].as_str().map(str::to_owned).or(error);
    }
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let why = error.unwrap_or(status);
    warn!("{name} has ended: {why}; training goes on without it, see {}", log.display());
    let _ = ended.send(false);
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn shell(script: &str) -> (tempfile::TempDir, Worker) {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        let worker = Worker::start(command, "wandb", &folder.path().join("log"), &Json::Null).unwrap();
        (folder, worker)
    }

    #[test]
    fn a_process_that_takes_too_long_is_left_behind() {
        let (_folder, mut worker) = shell("exec sleep 5");
        assert_eq!(worker.finish(&Json::Null, Instant::now(), None), End::Left);
    }

    #[test]
    fn one_that_does_not_read_loses_records_and_holds_nothing_up() {
        let (_folder, mut worker) = shell("exec sleep 5");
        // The pipe takes some too.
        let line = Json::from("x".repeat(1 << 10));
        (0..WAITING + 200).for_each(|_| worker.send(&line));
        assert!(worker.lost > 0);
        assert_eq!(worker.finish(&Json::Null, Instant::now(), None), End::Left);
    }

    #[test]
    fn one_that_ends_early_has_failed_and_one_that_says_so_is_done() {
        let limit = Instant::now() + Duration::from_secs(60);
        let (_folder, mut worker) = shell("exit 3");
        assert_eq!(worker.finish(&Json::Null, limit, None), End::Failed);
        // It reads up to the last line, so that its input ends.
        let (_folder, mut worker) = shell("cat >&2; echo '{\"done\": true}'");
        worker.send(&Json::from("record"));
        assert_eq!(worker.finish(&Json::from("last"), limit, None), End::Done);
        assert_eq!(std::fs::read_to_string(&worker.log).unwrap(), "null\n\"record\"\n\"last\"\n");
    }
}
