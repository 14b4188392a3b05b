//! Progress on standard error, hidden where that is no terminal.

use std::fmt::Display;
use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

static QUIET: AtomicBool = AtomicBool::new(false);

/// From now on there is neither a bar nor a note, only warnings and errors.
pub fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

pub(crate) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// A bar with rate and time left.
#[must_use]
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

/// The bar that is on the screen.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Writes a note to standard error, unless it was told to be quiet.
pub fn note(line: &dyn Display) {
    if !is_quiet() {
        tell(line);
    }
}

/// Writes a line to standard error, above the bar where there is one. Where nothing can be written, nobody reads: work goes on.
pub fn tell(line: &dyn Display) {
    let write = || _ = writeln!(std::io::stderr(), "{line}");
    let shown = SHOWN.lock().ok().and_then(|shown| shown.clone());
    match shown {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}
