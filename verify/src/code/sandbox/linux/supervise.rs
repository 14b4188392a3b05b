//! Feeds a confined process, reads from it, and ends it.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal};

use super::super::{End, Limits};

/// Bytes of errors that are kept.
const ERRORS: usize = 16 << 10;

/// Time between two counts of the files of a program.
const COUNTING: Duration = Duration::from_millis(10);

/// Time that the pipes of a program which has been killed may stay open.
const CLOSING: Duration = Duration::from_secs(5);

/// Result of a confined process.
#[derive(Debug)]
pub(super) struct Raw {
    pub end: End,
    /// Output after the line that says that it is ready; `None` if that never came.
    pub stdout: Option<Vec<u8>>,
    pub stderr: Vec<u8>,
    pub wall: Duration,
}

/// Starts a process, and sees it to its end.
///
/// The process is ready once it prints `ready` on a line. If `work` is given, its files are counted. `kill_rest` kills
/// everything that the process may have left behind.
pub(super) fn run(
    mut command: Command,
    input: &[u8],
    ready: &str,
    limits: &Limits,
    work: Option<&Path>,
    kill_rest: impl Fn() -> Result<(), String>,
) -> Result<Raw, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| format!("cannot start a process: {error}"))?;
    let result = Pipes::new(&mut child).and_then(|mut pipes| {
        let end = pipes.watch(&mut child, input, ready, limits, work);
        // Also after a failure, and before reading the rest: a process that lives on could hold the pipes open.
        kill_session(&mut child);
        kill_rest()?;
        let end = end?;
        pipes.drain()?;
        Ok(pipes.raw(end, ready))
    });
    kill_session(&mut child);
    result
}

/// Kills the session of the process, and waits for the process itself.
fn kill_session(child: &mut Child) {
    // The process is a leader only once it has called setsid; errors mean that nothing is left.
    if let Some(pid) = Pid::from_raw(child.id() as i32) {
        rustix::process::kill_process_group(pid, Signal::KILL).ok();
    }
    child.kill().ok();
    child.wait().ok();
}

/// The pipes of a process and the bytes that came through them.
#[derive(Debug)]
struct Pipes {
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    printed: Vec<u8>,
    errors: Vec<u8>,
    /// Where the output of the program begins in `printed`, and when.
    started: Option<(usize, Instant)>,
    ended: Instant,
}

impl Pipes {
    fn new(child: &mut Child) -> Result<Self, String> {
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let nonblocking = |fd: Option<std::os::fd::BorrowedFd<'_>>| {
            let fd = fd.ok_or("a pipe is missing")?;
            rustix::io::ioctl_fionbio(fd, true).map_err(|error| format!("a pipe: {error}"))
        };
        nonblocking(stdin.as_ref().map(AsFd::as_fd))?;
        nonblocking(stdout.as_ref().map(AsFd::as_fd))?;
        nonblocking(stderr.as_ref().map(AsFd::as_fd))?;
        let (printed, errors) = (Vec::new(), Vec::new());
        Ok(Self { stdin, stdout, stderr, printed, errors, started: None, ended: Instant::now() })
    }

    /// Serves the pipes until the process ends or must be ended.
    fn watch(
        &mut self,
        child: &mut Child,
        input: &[u8],
        ready: &str,
        limits: &Limits,
        work: Option<&Path>,
    ) -> Result<End, String> {
        let began = Instant::now();
        let handle = handle(child);
        let mut rest = input;
        loop {
            let status = child.try_wait().map_err(|error| format!("waiting: {error}"))?;
            self.ended = Instant::now();
            self.read(limits.output)?;
            self.look_for(ready);
            if self.printed.len() - self.started.map_or(0, |(at, _)| at) > limits.output {
                return Ok(End::Output);
            }
            if let Some(status) = status {
                let code = status.code().map(End::Exited);
                return Ok(code.unwrap_or(End::Signal(status.signal().unwrap_or(0))));
            }
            if work.is_some_and(|work| bytes_in(work) > limits.disk) {
                return Ok(End::Disk);
            }
            let deadline = self.started.map_or(began + limits.start, |(_, started)| started + limits.wall);
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(End::Timeout);
            }
            let tick = if work.is_some() || handle.is_none() { left.min(COUNTING) } else { left };
            self.write(&mut rest);
            self.wait(handle.as_ref(), tick)?;
        }
    }

    /// Waits until a pipe or the process needs attention.
    fn wait(&self, handle: Option<&OwnedFd>, time: Duration) -> Result<(), String> {
        let readable = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut fds = Vec::with_capacity(4);
        fds.extend(handle.map(|handle| readable(handle.as_fd())));
        fds.extend(self.stdout.as_ref().map(|pipe| readable(pipe.as_fd())));
        fds.extend(self.stderr.as_ref().map(|pipe| readable(pipe.as_fd())));
        fds.extend(self.stdin.as_ref().map(|pipe| PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::OUT)));
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        match poll(&mut fds, Some(&time)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(format!("poll: {error}")),
        }
    }

    /// Writes as much as the process takes. A process that takes no more may do so.
    fn write(&mut self, rest: &mut &[u8]) {
        while let Some(stdin) = self.stdin.as_mut() {
            if rest.is_empty() {
                self.stdin = None;
                return;
            }
            match stdin.write(rest) {
                Ok(count) if count > 0 => *rest = &rest[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => self.stdin = None,
            }
        }
    }

    /// Reads the available output, `limit` bytes of output at most.
    fn read(&mut self, limit: usize) -> Result<(), String> {
        let mut piece = [0; 16 << 10];
        // One more than the limit and the runner's own lines tells that there was more.
        while self.printed.len() <= limit + ERRORS {
            match read_some(&mut self.stdout, &mut piece)? {
                0 => break,
                count => self.printed.extend_from_slice(&piece[..count]),
            }
        }
        // A flood of errors must not keep this from looking at the time.
        for _ in 0..64 {
            match read_some(&mut self.stderr, &mut piece)? {
                0 => break,
                count => self.errors.extend_from_slice(&piece[..count]),
            }
            let surplus = self.errors.len().saturating_sub(ERRORS);
            self.errors.drain(..surplus);
        }
        Ok(())
    }

    /// Notes where the program begins: after the line that says so.
    fn look_for(&mut self, ready: &str) {
        if self.started.is_none() && !self.printed.is_empty() {
            let line = format!("{ready}\n");
            let found = self.printed.windows(line.len()).position(|window| window == line.as_bytes());
            self.started = found.map(|at| (at + line.len(), Instant::now()));
        }
    }

    /// Reads the rest of a process that has ended, as long as its pipes are open.
    fn drain(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + CLOSING;
        let most = self.printed.len() + (1 << 20);
        while self.stdout.is_some() || self.stderr.is_some() {
            self.stdin = None;
            self.read(most)?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("a process that was killed is still there".into());
            }
            if self.stdout.is_some() || self.stderr.is_some() {
                self.wait(None, left)?;
            }
        }
        Ok(())
    }

    fn raw(mut self, end: End, ready: &str) -> Raw {
        self.look_for(ready);
        let wall = self.started.map_or(Duration::ZERO, |(_, started)| self.ended.saturating_duration_since(started));
        let stdout = self.started.map(|(at, _)| self.printed.split_off(at));
        Raw { end, stdout, stderr: self.errors, wall }
    }
}

/// Reads once from a pipe, and closes it at its end. 0 means that there is nothing now.
fn read_some<R: Read>(pipe: &mut Option<R>, piece: &mut [u8]) -> Result<usize, String> {
    let Some(reader) = pipe else { return Ok(0) };
    loop {
        match reader.read(piece) {
            Ok(0) => {
                *pipe = None;
                return Ok(0);
            }
            Ok(count) => return Ok(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(format!("reading from a program: {error}")),
        }
    }
}

/// Returns a handle that tells when the process ends, if the kernel has such.
fn handle(child: &Child) -> Option<OwnedFd> {
    rustix::process::pidfd_open(Pid::from_raw(child.id() as i32)?, PidfdFlags::empty()).ok()
}

/// Counts the bytes of the files in a folder, and 4 kB for each file and folder.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let of = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(data) if data.is_dir() => 4096 + bytes_in(&entry.path()),
        Ok(data) => 4096 + data.blocks() * 512,
        Err(_) => 4096,
    };
    entries.flatten().map(of).sum()
}
