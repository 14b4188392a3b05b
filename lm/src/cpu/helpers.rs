//! Checks of arguments, with errors that name the argument, and the division of rows over threads.

use flowrl_core::Real;
use flowrl_core::backend::{CpuBackend, CpuError, check_len};

/// Checks that each buffer holds at least so many elements, or returns an error that names it.
macro_rules! check {
    ($($buffer:ident: $len:expr),+) => { $(flowrl_core::backend::check_len(stringify!($buffer), $buffer.len(), $len)?;)+ };
}
/// Runs a loop with the widest vectors of this machine.
macro_rules! vectorize {
    ($loop:expr) => {
        flowrl_core::kernel::vectorized(
            #[inline(always)]
            || $loop,
        )
    };
}
pub(super) use {check, vectorize};

/// Checks that there are `rows` indices and that each is a row of `table`.
pub(super) fn check_rows<T>(
    name: &'static str,
    ids: &[u32],
    rows: usize,
    table_name: &'static str,
    table: &[T],
    d: usize,
) -> Result<(), CpuError> {
    check_len(name, ids.len(), rows)?;
    let below = table.len() / d.max(1);
    match ids[..rows].iter().find(|&&id| id as usize >= below) {
        Some(&got) if below == 0 => {
            Err(CpuError::Shape { argument: table_name, got: table.len(), wanted: (got as usize + 1) * d })
        }
        Some(&got) => Err(CpuError::Index { argument: name, got: got as usize, below }),
        None => Ok(()),
    }
}

/// Checks that every span (start, len) lies within `x` (rows, d).
pub(super) fn check_spans<T>(name: &'static str, x: &[T], spans: &[(usize, usize)], d: usize) -> Result<(), CpuError> {
    let end = spans.iter().map(|&(start, len)| start + len).max().unwrap_or(0);
    check_len(name, x.len(), end * d)
}

/// Returns the number of rows per job with which `rows` rows of this many operations each keep every thread busy.
pub(super) fn block<T: Real>(backend: &CpuBackend<T>, rows: usize, operations: usize) -> usize {
    rows.div_ceil(backend.pool().jobs(rows * operations)).max(1)
}
