//! Checks of arguments, with errors that name the argument.

use flowrl_core::backend::{CpuError, check_len};

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
