//! Uploads through pinned host memory. A GPU may read ordinary host memory after the copy call has returned, when the
//! caller may have freed it. NVIDIA does not guarantee otherwise (CUDA Driver API, "API synchronization behavior").

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, CudaViewMut, DevicePtrMut, DriverError, PinnedHostSlice, result};

/// A ring of pinned segments, filled in order.
pub(super) struct Staging {
    stream: Arc<CudaStream>,
    segments: Vec<Segment>,
    /// Index of the segment being filled, and the number of its bytes in use.
    current: usize,
    used: usize,
}

struct Segment {
    memory: PinnedHostSlice<u8>,
    /// Event at which the stream has read the whole segment, recorded when the ring moves on.
    is_read: CudaEvent,
}

impl Staging {
    const SEGMENTS: usize = 4;
    /// Bytes of a segment: enough for the indices of many micro-batches, and for a weight in a few pieces.
    const BYTES: usize = 2 << 20;

    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self, DriverError> {
        let context = stream.context();
        let segment = || {
            // SAFETY: every bit pattern is a valid byte, and unwritten bytes are never read.
            let memory = unsafe { context.alloc_pinned(Self::BYTES) }?;
            Ok(Segment { memory, is_read: context.new_event(None)? })
        };
        let segments = (0..Self::SEGMENTS).map(|_| segment()).collect::<Result<_, DriverError>>()?;
        Ok(Self { stream: Arc::clone(stream), segments, current: 0, used: 0 })
    }

    /// Queues a copy of `source` to `target`, which has the same length. The caller may change or free `source` as soon
    /// as this function returns.
    pub(super) fn upload(&mut self, source: &[u8], target: &mut CudaViewMut<'_, u8>) -> Result<(), DriverError> {
        let stream = Arc::clone(&self.stream);
        let (mut to, _guard) = target.device_ptr_mut(&stream);
        for piece in source.chunks(Self::BYTES) {
            let from = self.stage(piece)?;
            // SAFETY: `to` points to memory for the rest of `source`. `from` stays unchanged until the stream has read
            // it, because `stage` waits for that before reusing a segment and `drop` before freeing it.
            unsafe { result::memcpy_htod_async(to, from, stream.cu_stream()) }?;
            to += piece.len() as u64;
        }
        Ok(())
    }

    /// Copies `piece` to pinned memory.
    fn stage(&mut self, piece: &[u8]) -> Result<&[u8], DriverError> {
        if self.used + piece.len() > Self::BYTES {
            self.segments[self.current].is_read.record(&self.stream)?;
            self.current = (self.current + 1) % Self::SEGMENTS;
            self.segments[self.current].is_read.synchronize()?;
            self.used = 0;
        }
        let start = self.used;
        // Each piece starts on its own cache line.
        self.used = (start + piece.len()).next_multiple_of(64);
        let staged = &mut self.segments[self.current].memory.as_mut_slice()?[start..start + piece.len()];
        staged.copy_from_slice(piece);
        Ok(staged)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // The context keeps an error, and its next user sees it.
        let _ = self.stream.synchronize();
    }
}
