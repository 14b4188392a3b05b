//! Packed layouts for tests of attention.

use flowrl_lm::backend::{Heads, Layout, Span};

/// Heads with shared keys, with one key for all queries and with one key for each; widths around that of the
/// vector lanes.
pub(crate) const HEADS: [Heads; 4] = [
    Heads { heads: 4, kv_heads: 2, head_dim: 8 },
    Heads { heads: 3, kv_heads: 1, head_dim: 2 },
    Heads { heads: 2, kv_heads: 2, head_dim: 18 },
    Heads { heads: 1, kv_heads: 1, head_dim: 16 },
];

/// Builds a layout from groups: rows of the prompt, then rows of each completion.
pub(crate) fn layout(groups: &[&[usize]]) -> Layout {
    let mut layout = Layout { spans: Vec::new(), groups: vec![0] };
    let mut row = 0;
    for group in groups {
        let prompt = row;
        for (i, &len) in group.iter().enumerate() {
            let prefix_len = if i == 0 { 0 } else { group[0] };
            layout.spans.push(Span { start: row, len, prefix_start: prompt, prefix_len });
            row += len;
        }
        layout.groups.push(layout.spans.len());
    }
    layout
}

pub(crate) fn layouts() -> [Layout; 5] {
    [
        layout(&[]),
        layout(&[&[1]]),
        layout(&[&[4, 3, 1, 5], &[2], &[1, 2]]),
        layout(&[&[1, 1, 1], &[3]]),
        layout(&[&[17, 16, 2]]),
    ]
}

/// Returns the rows that each row attends to.
pub(crate) fn attended(layout: &Layout) -> Vec<Vec<usize>> {
    let of = |s: &Span| {
        let (s, prefix) = (*s, s.prefix_start..s.prefix_start + s.prefix_len);
        (s.start..s.start + s.len).map(move |row| prefix.clone().chain(s.start..=row).collect())
    };
    layout.spans.iter().flat_map(of).collect()
}
