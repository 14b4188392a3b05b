//! Standard output, where results go and nothing else does.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output. [`say!`](crate::say) formats one.
///
/// # Errors
/// Where nothing can be written, for example to a full disk. A reader that has seen enough (`| head`) is not an error: the line
/// is dropped, and [`closed`] tells a long job that nobody listens.
pub fn line(text: &dyn std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
            CLOSED.store(true, Ordering::Relaxed);
            Ok(())
        }
        result => result,
    }
}

/// Whether the reader of standard output has gone.
#[must_use]
pub fn closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Writes a formatted line to standard output and returns early where that fails, as `?` does.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(&format_args!($($argument)*))?
    };
}

/// The warnings so far.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// How many different warnings there have been.
#[must_use]
pub fn warnings() -> usize {
    SAID.lock().map_or(0, |said| said.len())
}

/// Writes a warning to standard error, once however often it is given. [`warn!`](crate::warn) formats one.
pub fn warning(text: String) {
    if SAID.lock().is_ok_and(|mut said| said.insert(text.clone())) {
        crate::progress::tell(&format_args!("warning: {text}"));
    }
}

/// Says on standard error, once, what the user should know and may want to change; the program goes on.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => {
        $crate::output::warning(format!($($argument)*))
    };
}
