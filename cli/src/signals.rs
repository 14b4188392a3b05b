//! What asks a run from outside to stop or to save: signals.
//!
//! INT (Ctrl-C), TERM (schedulers, containers) and HUP (a closed terminal) stop in order, USR1 saves and goes on. One that was ignored when
//! the program began stays ignored: `nohup` means it.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};

use signal_hook::consts::signal::{SIGINT, SIGTERM};

use crate::progress;

/// The number of the signal, 0 before there was one.
static STOP: LazyLock<Arc<AtomicUsize>> = LazyLock::new(Arc::default);
static SAVE: AtomicBool = AtomicBool::new(false);
static INSTALLED: OnceLock<()> = OnceLock::new();

/// A signal that asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal(i32);

impl Signal {
    /// What a program exits with that a signal ended: 128 and its number.
    #[must_use]
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

/// From now on a signal asks to stop; a second one stops at once.
pub fn watch() {
    INSTALLED.get_or_init(|| {
        if let Err(error) = install() {
            progress::tell(&format_args!("warning: signals will not save: {error}"));
        }
    });
}

/// The signal that asked to stop, where one did.
#[must_use]
pub fn stop() -> Option<Signal> {
    i32::try_from(STOP.load(Ordering::SeqCst)).ok().filter(|number| *number != 0).map(Signal)
}

/// Whether a checkpoint was asked for since the last call.
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
                SAVE.store(true, Ordering::SeqCst);
            } else {
                ask_to_stop(number);
            }
        }
    })?;
    Ok(())
}

/// The signals that are ignored, a bit each from signal 1 on; none where the system does not tell.
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
    if STOP.swap(number as usize, Ordering::SeqCst) != 0 {
        std::process::exit(i32::from(signal.exit_code()));
    }
    progress::tell(&format_args!(
        "\n{signal}: giving up what is being sampled or measured, finishing an update that has begun, and saving; again stops at once"
    ));
}
