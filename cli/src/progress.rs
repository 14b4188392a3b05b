//! Progress on standard error, hidden if that is not a terminal.

use std::fmt::Display;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// Hides bars and notes from now on; warnings and errors remain.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Shows a progress bar with rate and time left, and returns it.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    let target = if is_quiet() { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    let style = "{prefix:>10} [{bar:28}] {pos}/{len} {per_sec} {eta} left  {msg}";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style.progress_chars("=> "));
    }
    bar.set_prefix(what.to_owned());
    if let Ok(mut shown) = SHOWN.lock() {
        *shown = Some(bar.clone());
    }
    bar
}

/// The bar that was shown last.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes a note to standard error, unless [`be_quiet`] was called.
pub fn note(line: &dyn Display) {
    if !is_quiet() {
        tell(line);
    }
}

/// Writes a line to standard error, above the bar if there is one. Failures are ignored: if nothing can be written,
/// nobody reads it, and the work continues.
pub fn tell(line: &dyn Display) {
    let write = || _ = writeln!(std::io::stderr(), "{line}");
    let shown = SHOWN.lock().ok().and_then(|shown| shown.clone());
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a formatted line to standard error, unless [`be_quiet`] was called.
#[macro_export]
macro_rules! note {
    ($($argument:tt)*) => {
        $crate::progress::note(&format_args!($($argument)*))
    };
}

/// Writes a formatted line to standard error, above the bar.
#[macro_export]
macro_rules! tell {
    ($($argument:tt)*) => {
        $crate::progress::tell(&format_args!($($argument)*))
    };
}
