//! Signals that ask a run to stop or to save.
//!
//! INT (Ctrl-C), TERM (schedulers, containers) and HUP (a closed terminal) stop the run in order; USR1 saves a
//! checkpoint and continues. A signal that was ignored when the program began stays ignored, as `nohup` intends.

use std::io;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use signal_hook::consts::signal::{SIGINT, SIGTERM};

use crate::tell;

/// The number of the signal that asked to stop; 0 before there was one.
static STOP: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static SAVE: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// A signal that asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// Returns the exit code of a program that this signal ended: 128 plus its number.
    pub fn exit_code(self) -> u8 {
        128_u8.saturating_add(u8::try_from(self.0).unwrap_or(u8::MAX))
    }
}

impl std::fmt::Display for Signal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            SIGINT => f.write_str("Ctrl-C"),
            SIGTERM => f.write_str("SIGTERM"),
            other => match signal_hook::low_level::signal_name(other) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {other}"),
            },
        }
    }
}

/// Child processes to which every signal is passed on.
static CHILDREN: Mutex<Vec<u32>> = Mutex::new(Vec::new());

/// Starts a process to which every signal is passed on. Its own process group keeps a terminal's Ctrl-C from reaching
/// it directly, so it receives each signal once. Returns `None` after a signal that asked to stop.
pub fn spawn(command: &mut Command) -> io::Result<Option<Child>> {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    // This check holds the lock, so that a signal that arrives now is passed on to the new process.
    if stop().is_some() {
        return Ok(None);
    }
    let child = command.spawn()?;
    children.push(child.id());
    Ok(Some(child))
}

/// Returns the status of a process started by [`spawn`], if it has ended. From then on no signal is passed on to it.
pub fn ended(child: &mut Child) -> io::Result<Option<ExitStatus>> {
    let mut children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let status = child.try_wait()?;
    if status.is_some() {
        children.retain(|id| *id != child.id());
    }
    Ok(status)
}

#[cfg(unix)]
fn pass_on(number: i32) {
    use rustix::process::{Pid, Signal, kill_process};

    let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
    let pids = children.iter().filter_map(|id| Pid::from_raw(i32::try_from(*id).ok()?));
    for (pid, signal) in pids.zip(std::iter::repeat(Signal::from_named_raw(number))) {
        // This fails if the process has just ended.
        let _ = signal.map(|signal| kill_process(pid, signal));
    }
}

/// Starts to catch signals: the first one asks to stop, a second one stops at once.
pub fn watch() {
    INSTALLED.get_or_init(|| {
        if let Err(error) = install() {
            tell!("warning: cannot catch signals, so they end the run without saving: {error}");
        }
    });
}

/// Returns the signal that asked to stop, if there was one.
pub fn stop() -> Option<Signal> {
    i32::try_from(STOP.load(Ordering::SeqCst)).ok().filter(|number| *number != 0).map(Signal)
}

/// Returns whether a checkpoint was asked for since the last call.
#[must_use]
pub fn take_save() -> bool {
    SAVE.swap(false, Ordering::SeqCst)
}

#[cfg(unix)]
fn install() -> std::io::Result<()> {
    use signal_hook::consts::signal::{SIGHUP, SIGUSR1};
    use signal_hook::iterator::Signals;

    let ignored = ignored();
    let caught = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].into_iter().filter(|number| ignored >> (number - 1) & 1 == 0);
    let mut signals = Signals::new(caught)?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for number in signals.forever() {
            if number == SIGUSR1 {
                pass_on(number);
                SAVE.store(true, Ordering::SeqCst);
            } else {
                ask_to_stop(number);
            }
        }
    })?;
    Ok(())
}

/// Returns the ignored signals as a mask whose lowest bit is signal 1, or 0 if the system does not report them.
#[cfg(unix)]
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(not(unix))]
fn install() -> std::io::Result<()> {
    use signal_hook::flag;

    let again = Arc::new(AtomicBool::new(false));
    for number in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(number, i32::from(Signal(number).exit_code()), Arc::clone(&again))?;
        flag::register(number, Arc::clone(&again))?;
        flag::register_usize(number, Arc::clone(&STOP), number as usize)?;
    }
    Ok(())
}

#[cfg(unix)]
fn ask_to_stop(number: i32) {
    let signal = Signal(number);
    let again = STOP.swap(number as usize, Ordering::SeqCst) != 0;
    pass_on(number);
    if again {
        std::process::exit(i32::from(signal.exit_code()));
    }
    tell!(
        "\n{signal}: abandoning sampling and evaluation, finishing an update that has begun, and saving; repeat to stop at once"
    );
}
