//! The allocator itself.

use std::alloc::{GlobalAlloc, Layout};
use std::arch::wasm32::memory_grow;
use std::cell::UnsafeCell;
use std::ptr;

use super::{ALIGN, LISTS, list_of};

const PAGE: usize = 1 << 16;

struct State {
    /// The first free block of each size; a free block starts with the address of the next.
    free: [*mut u8; LISTS],
    /// What is left of the pages that were asked for.
    next: usize,
    end: usize,
}

struct Blocks(UnsafeCell<State>);

// SAFETY: the module has one thread.
unsafe impl Sync for Blocks {}

#[global_allocator]
static BLOCKS: Blocks = Blocks(UnsafeCell::new(State { free: [ptr::null_mut(); LISTS], next: 0, end: 0 }));

// SAFETY: a block is at least as large as it was asked for, starts at a multiple of ALIGN, and belongs to nobody else: it comes from pages that only
// this allocator asks for, or from a list where `dealloc` put it.
unsafe impl GlobalAlloc for Blocks {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > ALIGN {
            return ptr::null_mut();
        }
        let (list, size) = list_of(layout.size());
        // SAFETY: the module has one thread, and nothing below allocates.
        let state = unsafe { &mut *self.0.get() };
        let block = state.free[list];
        if !block.is_null() {
            // SAFETY: `dealloc` has written the address of the next one.
            state.free[list] = unsafe { *block.cast() };
            return block;
        }
        // The end of all memory is 0.
        if state.end.wrapping_sub(state.next) < size {
            let pages = size.div_ceil(PAGE);
            let before = memory_grow::<0>(pages);
            if before == usize::MAX {
                return ptr::null_mut();
            }
            let start = before * PAGE;
            if start != state.end {
                state.next = start;
            }
            state.end = start.wrapping_add(pages * PAGE);
        }
        let block = state.next;
        state.next = block.wrapping_add(size);
        ptr::with_exposed_provenance_mut(block)
    }

    #[inline(never)]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let (list, _) = list_of(layout.size());
        // SAFETY: the module has one thread; a block is large enough for an address, and nobody uses it any more.
        unsafe {
            let state = &mut *self.0.get();
            block.cast::<*mut u8>().write(state.free[list]);
            state.free[list] = block;
        }
    }

    #[inline(never)]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if list_of(layout.size()) == list_of(size) {
            return block;
        }
        // SAFETY: the caller's promises are those that these functions ask for, and both blocks hold what is copied.
        unsafe {
            let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, size.min(layout.size()));
                self.dealloc(block, layout);
            }
            other
        }
    }
}
