//! Uploads through memory that the driver has pinned. A GPU may read ordinary memory after the call that asks for it has returned, when
//! the caller has freed it: that it does not is no promise of NVIDIA's (CUDA Driver API, "API synchronization behavior").

use std::sync::Arc;

use cudarc::driver::{CudaEvent, CudaStream, CudaViewMut, DevicePtrMut, DriverError, PinnedHostSlice, result};

/// A ring of segments, filled one after the other and in order.
pub(super) struct Staging {
    stream: Arc<CudaStream>,
    segments: Vec<Segment>,
    /// The segment that is being filled, and how much of it is.
    current: usize,
    used: usize,
}

struct Segment {
    memory: PinnedHostSlice<u8>,
    /// When the stream has read all of it, once another segment is being filled.
    is_read: CudaEvent,
}

impl Staging {
    const SEGMENTS: usize = 4;
    /// Bytes of a segment: a micro-batch's indices many times over, and a weight in a few pieces.
    const BYTES: usize = 2 << 20;

    pub(super) fn new(stream: &Arc<CudaStream>) -> Result<Self, DriverError> {
        let context = stream.context();
        let segment = || {
            // SAFETY: bytes have no invalid values, and those that nobody wrote are never read.
            let memory = unsafe { context.alloc_pinned(Self::BYTES) }?;
            Ok(Segment { memory, is_read: context.new_event(None)? })
        };
        let segments = (0..Self::SEGMENTS).map(|_| segment()).collect::<Result<_, DriverError>>()?;
        Ok(Self { stream: Arc::clone(stream), segments, current: 0, used: 0 })
    }

    /// Asks the stream to copy `source` to `target`, which is as long. `source` may change and go as soon as this returns.
    pub(super) fn upload(&mut self, source: &[u8], target: &mut CudaViewMut<'_, u8>) -> Result<(), DriverError> {
        let stream = Arc::clone(&self.stream);
        let (mut to, _guard) = target.device_ptr_mut(&stream);
        for piece in source.chunks(Self::BYTES) {
            let from = self.stage(piece)?;
            // SAFETY: `to` is memory for the rest of `source`, and `from` stays as it is until the stream has read it: before it is
            // filled again and before it is freed, `stage` and `drop` wait for that.
            unsafe { result::memcpy_htod_async(to, from, stream.cu_stream()) }?;
            to += piece.len() as u64;
        }
        Ok(())
    }

    /// A copy of `piece` in pinned memory.
    fn stage(&mut self, piece: &[u8]) -> Result<&[u8], DriverError> {
        if self.used + piece.len() > Self::BYTES {
            self.segments[self.current].is_read.record(&self.stream)?;
            self.current = (self.current + 1) % Self::SEGMENTS;
            self.segments[self.current].is_read.synchronize()?;
            self.used = 0;
        }
        let start = self.used;
        // The next piece starts on a cache line of its own.
        self.used = (start + piece.len()).next_multiple_of(64);
        let staged = &mut self.segments[self.current].memory.as_mut_slice()?[start..start + piece.len()];
        staged.copy_from_slice(piece);
        Ok(staged)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        // An error stays the context's, and whoever uses it next sees it.
        let _ = self.stream.synchronize();
    }
}
