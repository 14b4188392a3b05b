//! Trackers that are Python libraries. A separate process gets the records as lines of JSON. Training never waits for
//! it, and a failure in it does not end the run.

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
use crate::{note, signals, warn};

/// The script that runs in the Python process.
pub(super) const SCRIPT: &str = include_str!("worker.py");

/// Number of records that may wait for the process. A record of a language model has a few kilobytes.
const WAITING: usize = 4096;

/// The process of a tracker, with the threads that talk to it.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) name: &'static str,
    /// File with the standard error of the process.
    log: PathBuf,
    process: u32,
    lines: Option<SyncSender<String>>,
    /// Receives `true` if the process reports that it is done, and `false` if it ends without that.
    ended: Receiver<bool>,
    /// Number of records that were dropped because too many were waiting.
    lost: u64,
}

/// State of a process at the end of a run.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The process has handed over everything to the tracker.
    Done,
    /// The process failed.
    Failed,
    /// The process is still working.
    Left,
}

impl Worker {
    /// Starts `command` with its standard error appended to the file `log`, and sends it the first line.
    pub(super) fn start(mut command: Command, name: &'static str, log: &Path, begin: &Json) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        // Ctrl-C in a terminal signals the whole process group. This process must survive it to upload the rest.
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

    /// Queues a line for the process. The line is dropped if the queue is full or the process has ended.
    pub(super) fn send(&mut self, line: &Json) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(format!("{line}\n")) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                self.lost += 1;
                let (name, log) = (self.name, self.log.display());
                warn!(
                    "{name} is {WAITING} records behind: it misses all further records until it catches up; see {log}"
                );
            }
            // The thread that reads the answers warns of the end.
            Err(TrySendError::Disconnected(_)) => {}
        }
    }

    /// Sends the last line, once, and waits until the process has handed over everything. It stops waiting at
    /// `deadline`, or if a signal other than `stop` arrives.
    pub(super) fn finish(&mut self, last: &Json, deadline: Instant, stop: Option<Signal>) -> End {
        const POLL: Duration = Duration::from_millis(20);
        let mut last = Some(format!("{last}\n"));
        loop {
            if let (Some(line), Some(lines)) = (last.take(), &self.lines) {
                match lines.try_send(line) {
                    Err(TrySendError::Full(line)) => last = Some(line),
                    // Dropping the sender closes the input of the process after the last line.
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

    /// Warns at the end of a run if the tracker lacks records.
    pub(super) fn tell(&self, end: &End) {
        let Self { name, process, lost, .. } = self;
        let log = self.log.display();
        match end {
            End::Failed => {
                warn!("{name} failed during the run and may lack records, all of which are in metrics.jsonl; see {log}")
            }
            End::Left => warn!(
                "{name} has not uploaded everything yet: process {process} continues in the background; see {log}"
            ),
            End::Done if *lost > 0 => {
                warn!("{name} lacks {lost} records because it was too slow to take them; all are in metrics.jsonl")
            }
            End::Done => {}
        }
    }
}

/// Writes the queued lines until the queue is closed or the process stops reading.
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
            // Sending fails if the run has ended before; then nobody needs the message.
            let _ = ended.send(true);
            let _ = child.wait();
            return;
        }
        if let Some(note) = answer["note"].as_str() {
            note!("{name}: {note}");
        }
        error = answer["error"].as_str().map(str::to_owned).or(error);
    }
    let status = child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
    let why = error.unwrap_or(status);
    warn!("{name} has ended: {why}; training continues without it, see {}", log.display());
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
        // The pipe holds some lines, in addition to the queue.
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
        // `cat` ends only if the input is closed after the last line.
        let (_folder, mut worker) = shell("cat >&2; echo '{\"done\": true}'");
        worker.send(&Json::from("record"));
        assert_eq!(worker.finish(&Json::from("last"), limit, None), End::Done);
        assert_eq!(std::fs::read_to_string(&worker.log).unwrap(), "null\n\"record\"\n\"last\"\n");
    }
}
