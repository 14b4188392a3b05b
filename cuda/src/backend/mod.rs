//! A GPU or the emulator as a device.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaSlice, CudaStream};

use crate::attention::AttentionLists;
use crate::buffer::Buffer;
use crate::device::{self, Device};
use crate::emulated::EmulatorOptions;
use crate::error::{Error, Result};
use crate::libraries::Library;
use crate::unit::{Precision, Storage};

mod multiply;
mod operations;
#[cfg(test)]
mod tests;

pub(crate) use multiply::parts;

/// A GPU or the emulator as a device. Clones share the same device.
///
/// ```no_run
/// use flowrl_core::backend::Backend;
/// use flowrl_cuda::{CudaBackend, EmulatorOptions, Precision};
/// let gpu = CudaBackend::emulated(EmulatorOptions::default(), Precision::F32);
/// let x = gpu.upload(&[1.0, -1.0])?;
/// let mut y = gpu.zeros(2)?;
/// gpu.gelu(&x, &mut y, 2)?;
/// # Ok::<(), flowrl_cuda::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct CudaBackend {
    pub(crate) device: Arc<Device>,
    pub(crate) precision: Precision,
    /// Whether logits are f32 although activations are bf16.
    pub(crate) wide_logits: bool,
    pub(crate) limits: Limits,
    pub(crate) lists: Arc<AttentionLists>,
}

/// Upper limits on the number of elements in memory at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Elements of logits.
    pub(crate) logits: usize,
    /// Elements of cached keys and values.
    pub(crate) cache: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { logits: flowrl_lm::backend::LOGITS, cache: flowrl_lm::backend::CACHE }
    }
}

impl Limits {
    /// Returns the limits for a device with `memory` free bytes: an eighth for logits and an eighth for cached keys and
    /// values. An element takes `of_logit` or `of_key` bytes. Neither limit falls below its default.
    fn of(memory: usize, of_logit: usize, of_key: usize) -> Self {
        let (eighth, least) = (memory / 8, Self::default());
        // Libraries are not tested on matrices of more than 2³¹ elements.
        let logits = (eighth / of_logit).clamp(least.logits, i32::MAX as usize);
        Self { logits, cache: (eighth / of_key).max(least.cache) }
    }
}

/// The first compute capability with bf16 tensor cores and asynchronous copies.
const OLDEST: (i32, i32) = (8, 0);

impl CudaBackend {
    /// Opens the GPU with this number, counted from 0, on a stream of its own.
    ///
    /// # Errors
    /// Returns [`Error::NoCuda`] if a library is missing and [`Error::Driver`] if there is no such device.
    pub fn new(ordinal: usize, precision: Precision) -> Result<Self> {
        probe()?;
        let open = |error| Error::driver(format!("open GPU {ordinal}"), format!("{error:?}"));
        let context = CudaContext::new(ordinal).map_err(open)?;
        device::keep_freed_memory(&context);
        Self::with_stream(context.new_stream().map_err(open)?, precision)
    }

    /// Uses a GPU through a stream that the caller owns. The backend's operations and the caller's run in the order in
    /// which they were put on that stream.
    ///
    /// This disables `cudarc`'s event tracking for the stream's context because a single stream needs none. A caller
    /// with several streams must order them with its own events.
    ///
    /// # Errors
    /// Returns [`Error::NoCuda`] if a library is missing and [`Error::Driver`] if the GPU is older than Ampere.
    pub fn with_stream(stream: Arc<CudaStream>, precision: Precision) -> Result<Self> {
        probe()?;
        let capability = stream.context().compute_capability().unwrap_or_default();
        if capability < OLDEST {
            let ((major, minor), (least, _)) = (capability, OLDEST);
            let message = format!("its compute capability is {major}.{minor}, but must be {least}.0 or more (Ampere)");
            return Err(Error::driver("use this GPU", message));
        }
        let device = Arc::new(Device::nvidia(stream)?);
        let bytes = precision.storage().bytes();
        let limits = Limits::of(device.memory().unwrap_or(0), bytes, bytes);
        Ok(Self { device, precision, wide_logits: false, limits, lists: Arc::default() })
    }

    /// Creates the emulator, which runs the same kernels on the CPU, slowly, and checks for errors that a GPU does not
    /// report. It compiles kernels on first use with the system's C++ compiler.
    pub fn emulated(options: EmulatorOptions, precision: Precision) -> Self {
        let device = Arc::new(Device::emulated(options));
        Self { device, precision, wide_logits: false, limits: Limits::default(), lists: Arc::default() }
    }

    /// Stores logits as f32 although activations are bf16, together with a separate bf16 gradient, so that each logit
    /// takes six bytes instead of two. bf16 rounds a logit near 20 to a multiple of 0.125. This noise enters every
    /// log-probability, and its sum over a long completion makes importance weights noisy. The setting applies to
    /// buffers allocated after this call.
    pub fn with_f32_logits(mut self) -> Self {
        if let Precision::Bf16 = self.precision {
            self.wide_logits = true;
            let (narrow, wide) = (Storage::Bf16.bytes(), Storage::F32.bytes());
            self.limits = Limits::of(self.memory().unwrap_or(0), narrow + wide, narrow);
        }
        self
    }

    /// Returns the storage type of activations and weights.
    pub const fn precision(&self) -> Precision {
        self.precision
    }

    /// Returns the number of free bytes of GPU memory, or `None` for the emulator.
    pub fn memory(&self) -> Option<usize> {
        self.device.memory()
    }

    /// Wraps another program's f32 numbers on the same GPU as a buffer, without a copy. Work already queued on the
    /// slice's stream finishes first.
    ///
    /// ```no_run
    /// use cudarc::driver::CudaContext;
    /// use flowrl_core::backend::Backend;
    /// use flowrl_cuda::{CudaBackend, Precision};
    /// let stream = CudaContext::new(0)?.new_stream()?;
    /// let gpu = CudaBackend::with_stream(stream.clone(), Precision::F32)?;
    /// let buffer = gpu.adopt(stream.clone_htod(&[3.0, 4.0])?)?;
    /// assert_eq!(gpu.sum_squares(&buffer, 2)?, 25.0);
    /// let numbers = stream.clone_dtoh(&gpu.release(buffer)?)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`Error::Driver`] on the emulator, if the slice belongs to another context, or if it does not start on a
    /// 256-byte boundary.
    pub fn adopt(&self, slice: CudaSlice<f32>) -> Result<Buffer> {
        let len = slice.len();
        Ok(Buffer::new(self.device.adopt(slice)?, Storage::F32, len))
    }

    /// Converts an f32 buffer back to a [`cudarc`] slice, without a copy. This is the inverse of
    /// [`CudaBackend::adopt`].
    ///
    /// # Errors
    /// Returns [`Error::Driver`] on the emulator and [`Error::Storage`] if the buffer is not f32.
    pub fn release(&self, buffer: Buffer) -> Result<CudaSlice<f32>> {
        buffer.check_storage("buffer", Storage::F32)?;
        self.device.release(buffer.memory, buffer.len)
    }

    /// Waits until all queued work is done.
    ///
    /// # Errors
    /// Returns an error if an earlier operation failed on the device.
    pub fn synchronize(&self) -> Result<()> {
        self.device.synchronize()
    }

    pub(crate) fn allocate(&self, storage: Storage, len: usize) -> Result<Buffer> {
        Ok(Buffer::new(self.device.zeros(len * storage.bytes())?, storage, len))
    }

    /// Allocates f32 scratch memory that a kernel must write before another reads it.
    pub(crate) fn scratch(&self, len: usize) -> Result<Buffer> {
        Ok(Buffer::new(self.device.scratch(len * Storage::F32.bytes())?, Storage::F32, len))
    }

    /// Reads an f64 result buffer back to the host.
    pub(crate) fn read_f64(&self, buffer: &Buffer) -> Result<Vec<f64>> {
        let mut bytes = vec![0; buffer.len * 8];
        self.device.read(&buffer.memory, 0, &mut bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| f64::from_ne_bytes(*word)).collect())
    }
}

/// Checks that the CUDA libraries [`CudaBackend::new`] needs are present. It is safe to call without CUDA.
///
/// # Errors
/// Returns [`Error::NoCuda`] with the first missing library and where to get it.
pub fn probe() -> Result<()> {
    Library::ALL.into_iter().try_for_each(device::require)
}
