//! Devices: a GPU with its stream, or the emulator, and the kernels found so far.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};

use cudarc::driver::{CudaFunction, CudaModule, CudaSlice, CudaStream};

use super::blas::Blas;
use super::emulator::EmulatedKernels;
use super::memory::driver;
use super::staging::Staging;
use crate::emulated::EmulatorOptions;
use crate::error::Result;
use crate::notice;
use crate::unit::Unit;

/// Name, variant and unit of a kernel, which identify it once it is loaded.
pub(super) type Symbol = (&'static str, Option<usize>, Unit);

/// A device that runs kernels.
pub(crate) enum Device {
    Nvidia(Box<Nvidia>),
    Emulated(Emulated),
}

/// A GPU used through one stream, so that operations run in the order of the calls.
pub(crate) struct Nvidia {
    pub(super) stream: Arc<CudaStream>,
    pub(super) modules: Mutex<HashMap<Unit, Arc<CudaModule>>>,
    /// The kernels used so far, with the dynamic shared memory that each of them may have.
    pub(super) kernels: Mutex<HashMap<Symbol, (CudaFunction, u32)>>,
    pub(super) blas: Blas,
    /// Pinned memory for uploads, or `None` if the driver cannot pin any.
    pub(super) staging: Option<Mutex<Staging>>,
}

/// The emulator.
pub(crate) struct Emulated {
    pub(super) options: EmulatorOptions,
    pub(super) units: Mutex<HashMap<Unit, Arc<EmulatedKernels>>>,
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nvidia(gpu) => f.debug_tuple("Nvidia").field(&gpu.stream.context().ordinal()).finish(),
            Self::Emulated(emulator) => f.debug_tuple("Emulated").field(&emulator.options).finish(),
        }
    }
}

impl Nvidia {
    /// Returns whether `slice` belongs to this stream. Nothing would order its use with work on another stream.
    pub(super) fn owns(&self, slice: &CudaSlice<u8>) -> bool {
        let of = |stream: &CudaStream| (stream.cu_stream(), stream.context().cu_ctx());
        of(slice.stream()) == of(&self.stream)
    }
}

impl Device {
    pub(crate) fn nvidia(stream: Arc<CudaStream>) -> Result<Self> {
        // SAFETY: every slice of this crate is used only on its one stream, so no events are needed for ordering.
        unsafe { stream.context().disable_event_tracking() };
        let blas = Blas::new(&stream)?;
        let staging = Staging::new(&stream).map(Mutex::new).inspect_err(|error| {
            let text = format!("the driver cannot pin host memory ({error:?}), so every upload waits for the GPU");
            notice::say("pinned memory", &text);
        });
        let (modules, kernels) = Default::default();
        Ok(Self::Nvidia(Box::new(Nvidia { stream, modules, kernels, blas, staging: staging.ok() })))
    }

    pub(crate) fn emulated(options: EmulatorOptions) -> Self {
        Self::Emulated(Emulated { options, units: Mutex::default() })
    }

    /// Returns the free bytes of a GPU's memory, or `None` for the emulator.
    pub(crate) fn memory(&self) -> Option<usize> {
        match self {
            Self::Nvidia(gpu) => gpu.stream.context().mem_get_info().ok().map(|(free, _)| free),
            Self::Emulated(_) => None,
        }
    }

    /// Waits until all queued work is done.
    pub(crate) fn synchronize(&self) -> Result<()> {
        match self {
            Self::Nvidia(gpu) => gpu.stream.synchronize().map_err(driver("wait for the device")),
            Self::Emulated(_) => Ok(()),
        }
    }
}
