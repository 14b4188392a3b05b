//! Groups of sequences that answer the same prompt, found without allocating.

/// Fills `order` with 0..B, sorted by (group, index).
pub(super) fn sort_by_group(groups: &[usize], order: &mut [usize]) {
    for (i, slot) in order.iter_mut().enumerate() {
        *slot = i;
    }
    if !groups.is_sorted() {
        heap_sort(order, |&i| (groups[i], i));
    }
}

/// Sorts without the standard library: its sorts are fast for any input but add much code, and groups are rarely out of
/// order.
fn heap_sort<K: Ord>(items: &mut [usize], key: impl Fn(&usize) -> K) {
    let sift_down = |heap: &mut [usize], mut parent: usize| {
        while let Some(child) = (2 * parent + 1..heap.len().min(2 * parent + 3)).max_by_key(|&child| key(&heap[child]))
        {
            if key(&heap[child]) <= key(&heap[parent]) {
                break;
            }
            heap.swap(child, parent);
            parent = child;
        }
    };
    for parent in (0..items.len() / 2).rev() {
        sift_down(items, parent);
    }
    for end in (1..items.len()).rev() {
        items.swap(0, end);
        sift_down(&mut items[..end], 0);
    }
}

/// Iterates over the runs of equal groups in a sorted `order`.
pub(super) fn runs<'a>(groups: &'a [usize], order: &'a [usize]) -> impl Iterator<Item = &'a [usize]> {
    order.chunk_by(|&a, &b| groups[a] == groups[b])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, Stream};

    #[test]
    fn groups_in_any_order_are_sorted_by_group_and_place() {
        let stream = Stream::new(5, Purpose::Task);
        for count in 0..200_u32 {
            let groups: [usize; 200] = core::array::from_fn(|i| stream.below(9, count, i as u32, 0) as usize);
            let groups = &groups[..count as usize];
            let (mut order, mut want) = ([0; 200], [0; 200]);
            let (order, want) = (&mut order[..groups.len()], &mut want[..groups.len()]);
            want.iter_mut().enumerate().for_each(|(i, slot)| *slot = i);
            want.sort_by_key(|&i| groups[i]);
            sort_by_group(groups, order);
            assert_eq!(order, want, "{groups:?}");
        }
    }
}
