//! One worker process.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::protocol::{Hello, MAX_LINE};
use crate::log::Log;

/// How often a wait looks for an interrupt.
const POLL: Duration = Duration::from_millis(20);

/// A worker process, with the threads that move its lines. Dropping it kills its process group.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    requests: SyncSender<Vec<u8>>,
    lines: Receiver<Line>,
    /// Hears when all of the standard error is in the log.
    copied: Receiver<()>,
    pub(super) hello: Hello,
}

/// Output of a worker.
#[derive(Debug)]
enum Line {
    Text(String),
    /// A line of more than [`MAX_LINE`] bytes.
    TooLong,
    /// Bytes that are not UTF-8.
    NotText,
}

/// The reason why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The time is over.
    Timeout,
    /// Someone asked to stop.
    Interrupted,
    /// The worker is unusable; the text is the rest of a sentence about it.
    Broken(String),
}

impl Process {
    /// Starts a worker and waits for its first line.
    pub(super) fn start(
        mut command: Command,
        limit: Duration,
        log: &Log,
        is_interrupted: &dyn Fn() -> bool,
    ) -> Result<Self, Silence> {
        // A group of its own: Ctrl-C must not end it, and a kill must reach the processes that it has started.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let program = command.get_program().display().to_string();
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| Silence::Broken(format!("cannot run {program}: {error}")))?;
        let (say, lines) = channel();
        let (done, copied) = channel();
        let (requests, waiting) = sync_channel::<Vec<u8>>(1);
        if let Some(mut stdin) = child.stdin.take() {
            // Writing blocks while the worker does not read, so it happens apart from the clock.
            thread::spawn(move || {
                waiting.iter().all(|bytes| stdin.write_all(&bytes).and_then(|()| stdin.flush()).is_ok())
            });
        }
        if let Some(stdout) = child.stdout.take() {
            thread::spawn(move || read(stdout, &say));
        }
        if let Some(stderr) = child.stderr.take() {
            let log = log.clone();
            thread::spawn(move || {
                copy(stderr, &log);
                done.send(())
            });
        }
        let mut worker = Self { child, requests, lines, copied, hello: Hello { max_batch: 1 } };
        let line = match worker.line(Instant::now() + limit, is_interrupted) {
            Err(Silence::Timeout) => {
                return Err(Silence::Broken(format!("said nothing for {} s after it was started", limit.as_secs())));
            }
            other => other?,
        };
        worker.hello = Hello::parse(&line).map_err(Silence::Broken)?;
        Ok(worker)
    }

    /// Sends a request, which ends with a line break.
    pub(super) fn send(&self, request: Vec<u8>) -> Result<(), Silence> {
        self.requests.try_send(request).map_err(|_| Silence::Broken("closed its input".into()))
    }

    /// Returns the next line.
    pub(super) fn line(&mut self, deadline: Instant, is_interrupted: &dyn Fn() -> bool) -> Result<String, Silence> {
        loop {
            if is_interrupted() {
                return Err(Silence::Interrupted);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left.min(POLL)) {
                Ok(Line::Text(line)) => return Ok(line),
                Ok(Line::TooLong) => {
                    return Err(Silence::Broken(format!("wrote a line of more than {MAX_LINE} bytes")));
                }
                Ok(Line::NotText) => return Err(Silence::Broken("wrote a line that is not UTF-8".into())),
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Err(Silence::Timeout),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Silence::Broken(self.ended())),
            }
        }
    }

    /// Describes the end of the process, whose output is closed.
    fn ended(&mut self) -> String {
        let deadline = Instant::now() + Duration::from_millis(500);
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return format!("ended with {status}"),
                Ok(None) if Instant::now() < deadline => thread::sleep(POLL),
                _ => return "closed its output".into(),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        #[cfg(unix)]
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw) {
            // This fails if nothing of the group is left.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The last words of this worker may explain its end. A process that it left behind may hold the pipe open.
        let _ = self.copied.recv_timeout(Duration::from_millis(200));
    }
}

/// Passes the lines of a worker on until its output ends or a line is unusable.
fn read(stdout: ChildStdout, say: &Sender<Line>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let read = stdout.by_ref().take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line);
        let found = match read {
            Ok(0) | Err(_) => return,
            Ok(_) if line.len() > MAX_LINE => Line::TooLong,
            Ok(_) if line.trim_ascii().is_empty() => continue,
            Ok(_) => String::from_utf8(line).map_or(Line::NotText, Line::Text),
        };
        let is_last = !matches!(found, Line::Text(_));
        if say.send(found).is_err() || is_last {
            return;
        }
    }
}

/// Copies the standard error of a worker to the log.
fn copy(mut stderr: ChildStderr, log: &Log) {
    let mut buffer = [0; 8192];
    while let Ok(count @ 1..) = stderr.read(&mut buffer) {
        log.write(&buffer[..count]);
    }
}
