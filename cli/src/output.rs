//! Standard output, which carries results only, and warnings on standard error.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

static CLOSED: AtomicBool = AtomicBool::new(false);

/// Writes a line to standard output. [`say!`](crate::say) formats one.
///
/// # Errors
/// Returns an error if nothing can be written, for example to a full disk. A reader that has closed the pipe (`| head`)
/// is not an error: this function drops the line, and [`closed`] tells a long job that it may stop.
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

/// Returns whether the reader of standard output has gone.
pub fn closed() -> bool {
    CLOSED.load(Ordering::Relaxed)
}

/// Writes a formatted line to standard output. If this fails, it returns from the caller as `?` does.
#[macro_export]
macro_rules! say {
    ($($argument:tt)*) => {
        $crate::output::line(&format_args!($($argument)*))?
    };
}

/// The warnings given so far.
static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

/// Returns the number of different warnings given so far.
pub fn warnings() -> usize {
    SAID.lock().map_or(0, |said| said.len())
}

/// Writes a warning to standard error, unless it was given before. [`warn!`](crate::warn) formats one.
pub fn warning(text: String) {
    if SAID.lock().is_ok_and(|mut said| said.insert(text.clone())) {
        crate::tell!("warning: {text}");
    }
}

/// Warns on standard error, once, of something that the user may want to change. The program continues.
#[macro_export]
macro_rules! warn {
    ($($argument:tt)*) => {
        $crate::output::warning(format!($($argument)*))
    };
}
