//! Checks of arguments: every error names the argument.

use flowrl_core::backend::{CpuError, check_len};

use crate::backend::Layout;

/// Checks that there are `rows` indices, each of a whole row of `table`.
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

/// Checks that every (start, len) is inside of `x` (rows, d).
pub(super) fn check_spans<T>(name: &'static str, x: &[T], spans: &[(usize, usize)], d: usize) -> Result<(), CpuError> {
    let end = spans.iter().map(|&(start, len)| start + len).max().unwrap_or(0);
    check_len(name, x.len(), end * d)
}

/// Checks what [`Layout`] promises: spans one after another, each prefix earlier in the same group.
pub(super) fn check_layout(layout: &Layout) -> Result<(), CpuError> {
    let broken = |argument, index, rule| Err(CpuError::Rule { argument, index, rule });
    let Layout { spans, groups } = layout;
    if groups.first().is_some_and(|first| *first != 0) {
        return broken("layout.groups", 0, "be 0");
    }
    if groups.last().copied().unwrap_or(0) != spans.len() {
        return broken("layout.groups", groups.len().saturating_sub(1), "be the number of spans");
    }
    let mut end = 0;
    for (index, group) in groups.windows(2).enumerate() {
        if group[0] > group[1] || group[1] > spans.len() {
            return broken("layout.groups", index + 1, "ascend up to the number of spans");
        }
        let first = end;
        for (index, span) in spans.iter().enumerate().take(group[1]).skip(group[0]) {
            if span.start != end {
                return broken("layout.spans", index, "start where the span before it ends");
            }
            if span.prefix_len > 0 && (span.prefix_start < first || span.prefix_start + span.prefix_len > end) {
                return broken("layout.spans", index, "have its prefix earlier in its group");
            }
            if span.prefix_len == 0 && span.prefix_start > end {
                return broken("layout.spans", index, "not have its prefix after it");
            }
            end += span.len;
        }
    }
    Ok(())
}
