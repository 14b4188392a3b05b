//! The memory of the module. The allocator that comes with Rust weighs ten times as much.
//!
//! A block is taken from the end of the memory, and once freed waits in a list of blocks of its size for the next that is asked for. A race
//! asks for the same sizes in every step.

#[cfg(target_arch = "wasm32")]
mod blocks;

/// Blocks start at multiples of it: more than any type here asks for.
const ALIGN: usize = 16;
/// More than there are lists.
#[cfg(target_arch = "wasm32")]
const LISTS: usize = 128;

/// The list of blocks for a size, and how large these are: multiples of 16 up to 128, then four sizes between a power of two and the next.
const fn list_of(size: usize) -> (usize, usize) {
    let last = size.saturating_sub(1);
    let bits = (usize::BITS - last.leading_zeros()) as usize;
    let shift = if last < 8 * ALIGN { ALIGN.ilog2() as usize } else { bits - 3 };
    let steps = (last >> shift) + 1;
    (4 * shift + steps, steps << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_list_has_one_size_and_loses_a_fifth_at_most() {
        let mut before = (0, 0);
        for size in 0..100_000 {
            let (list, block) = list_of(size);
            assert!(block >= size && block.is_multiple_of(ALIGN), "{size}");
            assert!(block <= size.max(1).next_multiple_of(ALIGN).max(size + size / 4), "{size}: {block}");
            assert_eq!(list > before.0, block > before.1, "{size}");
            assert!(list >= before.0, "{size}");
            before = (list, block);
        }
        assert!(list_of(i32::MAX as usize).0 < 128);
    }
}
