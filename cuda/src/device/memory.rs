//! Memory of a GPU and of the emulator.

use std::alloc::{self, Layout};
use std::ptr::NonNull;
use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, DriverError, result};

use crate::error::{Error, Result};

/// Device memory, aligned to at least 16 bytes.
#[derive(Debug)]
pub(crate) enum Memory {
    Nvidia(Owned),
    Emulated(Block),
}

/// GPU memory that any thread can drop. The order of the fields matters: they are dropped in this order.
#[derive(Debug)]
pub(crate) struct Owned {
    _current: Current,
    pub(super) slice: CudaSlice<u8>,
}

impl Owned {
    pub(super) fn new(slice: CudaSlice<u8>) -> Self {
        Self { _current: Current(Arc::clone(slice.context())), slice }
    }
}

/// On drop, makes this context current for the thread. The memory dropped after it may need that, and the bindings do
/// not ensure it.
#[derive(Debug)]
pub(super) struct Current(pub(super) Arc<CudaContext>);

impl Drop for Current {
    fn drop(&mut self) {
        // SAFETY: the context is alive. The bindings' own function would stop at an earlier error.
        let _ = unsafe { result::ctx::set_current(self.0.cu_ctx()) };
    }
}

/// Memory of the emulator, from the system's allocator so that AddressSanitizer knows its bounds.
#[derive(Debug)]
pub(crate) struct Block {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a block owns its bytes and lends them by the rules of references.
unsafe impl Send for Block {}
// SAFETY: as for `Send`, and shared access only reads.
unsafe impl Sync for Block {}

impl Block {
    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes.max(1), 64).expect("a length in memory fits isize")
    }

    pub(super) fn zeros(bytes: usize) -> Result<Self> {
        // SAFETY: the layout has at least one byte.
        let start = NonNull::new(unsafe { alloc::alloc_zeroed(Self::layout(bytes)) });
        start.map(|start| Self { start, bytes }).ok_or(Error::OutOfMemory { wanted: bytes, free: 0 })
    }

    /// Returns the address of the first byte, and the number of bytes.
    pub(super) fn range(&self) -> (u64, usize) {
        (self.start.as_ptr() as u64, self.bytes)
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: `start` is valid for `bytes` bytes, initialised with zeros, as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes) }
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`; `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.bytes) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: the block was allocated with the same layout.
        unsafe { alloc::dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
    }
}

pub(super) fn driver(operation: &str) -> impl Fn(DriverError) -> Error {
    move |error| Error::driver(operation, format!("{error:?}"))
}

pub(super) fn elsewhere() -> Error {
    Error::driver(
        "use a buffer",
        "the buffer belongs to another device; use each buffer with the backend that created it",
    )
}
