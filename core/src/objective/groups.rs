//! Sequences that answer the same prompt, found without allocating.

/// Fills `order` with 0..B sorted by (group, index).
pub(super) fn sort_by_group(groups: &[usize], order: &mut [usize]) {
    for (i, slot) in order.iter_mut().enumerate() {
        *slot = i;
    }
    order.sort_unstable_by_key(|&i| (groups[i], i));
}

/// The runs of equal group in a sorted `order`.
pub(super) fn runs<'a>(groups: &'a [usize], order: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
    order.chunk_by(|&a, &b| groups[a] == groups[b])
}
