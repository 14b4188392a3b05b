//! Allocation and copies.

use std::sync::PoisonError;

use cudarc::driver::sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY;
use cudarc::driver::{CudaSlice, DevicePtr};

use super::driver::free_memory;
use super::memory::{Block, Memory, Owned, driver, elsewhere};
use super::open::Device;
use crate::error::{Error, Result};

/// The alignment that the driver guarantees for allocations and cuBLASLt assumes.
const ALIGNMENT: u64 = 256;

impl Device {
    /// Allocates `bytes` zero bytes.
    pub(crate) fn zeros(&self, bytes: usize) -> Result<Memory> {
        if let Self::Emulated(_) = self {
            // `alloc_zeroed` is cheaper than a separate fill.
            return Block::zeros(bytes).map(Memory::Emulated);
        }
        let mut memory = self.scratch(bytes)?;
        self.clear(&mut memory, bytes)?;
        Ok(memory)
    }

    /// Allocates `bytes` bytes that must be written before they are read. The emulator fills them with NaN.
    pub(crate) fn scratch(&self, bytes: usize) -> Result<Memory> {
        match self {
            Self::Emulated(_) => {
                let mut block = Block::zeros(bytes)?;
                block.as_mut_slice().fill(0xff);
                Ok(Memory::Emulated(block))
            }
            Self::Nvidia(gpu) => {
                // SAFETY: every bit pattern is a valid byte, and unwritten bytes are never read.
                let allocated = unsafe { gpu.stream.alloc(bytes.max(16)) };
                allocated.map(|slice| Memory::Nvidia(Owned::new(slice))).map_err(|error| match error.0 {
                    CUDA_ERROR_OUT_OF_MEMORY => {
                        Error::OutOfMemory { wanted: bytes, free: free_memory(gpu.stream.context()) }
                    }
                    _ => driver("allocate memory")(error),
                })
            }
        }
    }

    /// Copies `source` to `target[offset..]`, which the caller has checked to be long enough.
    pub(crate) fn write(&self, target: &mut Memory, offset: usize, source: &[u8]) -> Result<()> {
        match (self, target) {
            _ if source.is_empty() => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: target, .. })) if gpu.owns(target) => {
                let mut target = target.slice_mut(offset..offset + source.len());
                let copied = match &gpu.staging {
                    Some(staging) => staging.lock().unwrap_or_else(PoisonError::into_inner).upload(source, &mut target),
                    // The caller may free `source` as soon as this function returns.
                    None => gpu.stream.memcpy_htod(source, &mut target).and_then(|()| gpu.stream.synchronize()),
                };
                copied.map_err(driver("copy to the device"))
            }
            (Self::Emulated(_), Memory::Emulated(target)) => {
                target.as_mut_slice()[offset..offset + source.len()].copy_from_slice(source);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Copies from `source[offset..]` until `target` is full.
    pub(crate) fn read(&self, source: &Memory, offset: usize, target: &mut [u8]) -> Result<()> {
        match (self, source) {
            _ if target.is_empty() => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: source, .. })) if gpu.owns(source) => {
                let source = source.slice(offset..offset + target.len());
                let copied = gpu.stream.memcpy_dtoh(&source, target);
                copied.and_then(|()| gpu.stream.synchronize()).map_err(driver("copy from the device"))
            }
            (Self::Emulated(_), Memory::Emulated(source)) => {
                target.copy_from_slice(&source.as_slice()[offset..offset + target.len()]);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Copies the first `bytes` bytes.
    pub(crate) fn copy(&self, target: &mut Memory, source: &Memory, bytes: usize) -> Result<()> {
        match (self, target, source) {
            _ if bytes == 0 => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(target), Memory::Nvidia(source))
                if gpu.owns(&target.slice) && gpu.owns(&source.slice) =>
            {
                let (mut target, source) = (target.slice.slice_mut(..bytes), source.slice.slice(..bytes));
                gpu.stream.memcpy_dtod(&source, &mut target).map_err(driver("copy on the device"))
            }
            (Self::Emulated(_), Memory::Emulated(target), Memory::Emulated(source)) => {
                target.as_mut_slice()[..bytes].copy_from_slice(&source.as_slice()[..bytes]);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Sets the first `bytes` bytes to 0.
    pub(crate) fn clear(&self, target: &mut Memory, bytes: usize) -> Result<()> {
        match (self, target) {
            _ if bytes == 0 => Ok(()),
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice: target, .. })) if gpu.owns(target) => {
                gpu.stream.memset_zeros(&mut target.slice_mut(..bytes)).map_err(driver("clear memory"))
            }
            (Self::Emulated(_), Memory::Emulated(target)) => {
                target.as_mut_slice()[..bytes].fill(0);
                Ok(())
            }
            _ => Err(elsewhere()),
        }
    }

    /// Returns the address of memory of this device, which must hold at least `bytes` bytes.
    pub(super) fn address(&self, memory: &Memory, bytes: usize) -> Result<u64> {
        let (address, held) = match (self, memory) {
            (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice, .. })) if gpu.owns(slice) => {
                (slice.device_ptr(&gpu.stream).0, slice.len())
            }
            (Self::Emulated(_), Memory::Emulated(block)) => block.range(),
            _ => return Err(elsewhere()),
        };
        assert!(bytes <= held, "the caller checks lengths: {bytes} bytes of {held}");
        Ok(address)
    }

    /// Takes over another program's numbers without a copy. They must belong to the stream's context because addresses
    /// are not valid in another one.
    pub(crate) fn adopt(&self, slice: CudaSlice<f32>) -> Result<Memory> {
        let Self::Nvidia(gpu) = self else { return Err(elsewhere()) };
        if slice.context().cu_ctx() != gpu.stream.context().cu_ctx() {
            return Err(elsewhere());
        }
        let (address, _) = slice.device_ptr(slice.stream());
        if address % ALIGNMENT != 0 {
            // The driver cannot free memory from an address inside an allocation.
            let address = slice.leak();
            let message = format!(
                "it starts at {address:#x}, which is not a multiple of {ALIGNMENT} as kernels and cuBLASLt require; part \
                 of an allocation cannot be taken over: copy it to a new one with `CudaStream::clone_dtod`"
            );
            return Err(Error::driver("take over memory", message));
        }
        let bytes = slice.len() * size_of::<f32>();
        // Work already queued on the slice's own stream comes first.
        gpu.stream.join(slice.stream()).map_err(driver("wait for another stream"))?;
        // SAFETY: `leak` hands the slice's memory, which has this length, over to the new slice.
        Ok(Memory::Nvidia(Owned::new(unsafe { gpu.stream.upgrade_device_ptr(slice.leak(), bytes) })))
    }

    /// Hands memory over as a `cudarc` slice, without a copy.
    pub(crate) fn release(&self, memory: Memory, len: usize) -> Result<CudaSlice<f32>> {
        self.address(&memory, len * size_of::<f32>())?;
        let (Self::Nvidia(gpu), Memory::Nvidia(Owned { slice, .. })) = (self, memory) else {
            return Err(elsewhere());
        };
        // SAFETY: as in `adopt`; the memory was just checked to hold `len` aligned f32 numbers.
        Ok(unsafe { gpu.stream.upgrade_device_ptr(slice.leak(), len) })
    }
}
