//! Reporting: findings as they occur, and totals at exit.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::limits::variable;

/// Counts of the operations of each kind.
pub(crate) static LAUNCHES: AtomicU64 = AtomicU64::new(0);
pub(crate) static PRODUCTS: AtomicU64 = AtomicU64::new(0);
pub(crate) static COPIES: AtomicU64 = AtomicU64::new(0);
pub(crate) static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FINDINGS: AtomicU64 = AtomicU64::new(0);

/// Adds 1 to a count.
pub(crate) fn count(of: &AtomicU64) {
    of.fetch_add(1, Relaxed);
}

/// Reports a mistake of the program in a call.
pub(crate) fn finding(call: &str, text: &str) {
    count(&FINDINGS);
    eprintln!("stand-in for the GPU: {call}: {text}");
}

/// Writes the counts if a report file is set, and returns whether there were no findings.
pub(crate) fn conclude() -> bool {
    let [launches, products, copies, allocations, findings] =
        [&LAUNCHES, &PRODUCTS, &COPIES, &ALLOCATIONS, &FINDINGS].map(|count| count.load(Relaxed));
    if let Some(path) = variable("REPORT") {
        let line = format!(
            "{launches} launches, {products} products, {copies} copies, {allocations} allocations, {findings} findings\n"
        );
        // Processes share the file, so the line is appended in one write.
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        if let Err(error) = written {
            eprintln!("stand-in for the GPU: cannot write {path}: {error}");
            return false;
        }
    }
    findings == 0
}
