//! Launches of kernels.

use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Arc, PoisonError};

use cudarc::driver::result;
use cudarc::driver::sys::CUfunction;
use cudarc::driver::sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES as MAX_SHARED;

use super::compile;
use super::emulator::EmulatedKernels;
use super::memory::{Memory, driver};
use super::open::{Device, Emulated, Nvidia, Symbol};
use crate::error::{Error, Result};
use crate::grid::Grid;
use crate::unit::Unit;

/// A row of the table of kernels, for one storage type.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kernel {
    pub(crate) name: &'static str,
    /// Greatest width of the heads that this variant of the kernel takes, if there are several variants.
    pub(crate) columns: Option<usize>,
    pub(crate) unit: Unit,
}

impl Kernel {
    fn symbol(&self) -> Symbol {
        (self.name, self.columns, self.unit)
    }

    /// Returns the kernel's name in its unit.
    fn name(&self) -> String {
        self.columns.map_or_else(|| self.name.to_owned(), |columns| format!("{}_{columns}", self.name))
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Argument<'a> {
    /// The address of memory, of which the kernel uses the first so many bytes.
    Memory(&'a Memory, usize),
    /// The null pointer, for optional memory.
    Null,
    /// The bytes of a number, followed by zeros.
    Number([u8; 8]),
}

impl Device {
    /// Runs a kernel with the arguments that its row of the table declares.
    pub(crate) fn launch(&self, kernel: &Kernel, grid: Grid, arguments: &[Argument<'_>]) -> Result<()> {
        let slot = |argument: &Argument<'_>| match *argument {
            Argument::Memory(memory, bytes) => self.address(memory, bytes).map(u64::to_ne_bytes),
            Argument::Null => Ok([0; 8]),
            Argument::Number(bytes) => Ok(bytes),
        };
        let slots = arguments.iter().map(slot).collect::<Result<Vec<_>>>()?;
        if grid.is_empty() {
            return Ok(());
        }
        let mut slots: Vec<*mut c_void> = slots.iter().map(|slot| std::ptr::from_ref(slot).cast_mut().cast()).collect();
        let [x, y] = grid.blocks;
        match self {
            Self::Nvidia(gpu) => {
                gpu.stream.context().bind_to_thread().map_err(driver("use the device"))?;
                let (function, stream) = (gpu.function(kernel, grid.shared)?, gpu.stream.cu_stream());
                let threads = (grid.threads, 1, 1);
                // SAFETY: the arguments are those of the kernel's row, each as long as the row declares. The function
                // and the stream belong to this context.
                unsafe { result::launch_kernel(function, (x, y, 1), threads, grid.shared, stream, &mut slots) }
                    .map_err(|error| driver(&kernel.name())(error))
            }
            Self::Emulated(emulator) => {
                let sizes = ([x, y, 1], [grid.threads, 1, 1], grid.shared);
                let (kernels, name) = (emulator.kernels(kernel.unit)?, kernel.name());
                // SAFETY: as above.
                unsafe { kernels.run(&name, &emulator.options, sizes, &slots) }
                    .map_err(|message| Error::driver(name, message))
            }
        }
    }
}

impl Nvidia {
    /// Returns a kernel that may use `shared` bytes of dynamic shared memory. The handle is valid as long as `self`
    /// lives.
    fn function(&self, kernel: &Kernel, shared: u32) -> Result<CUfunction> {
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((function, _)) = kernels.get(&kernel.symbol()).filter(|(_, allowed)| *allowed >= shared) {
            return Ok(function.cu_function());
        }
        let mut modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = match modules.entry(kernel.unit) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => place.insert(compile::load(kernel.unit, self.stream.context())?),
        };
        let name = kernel.name();
        let function = module.load_function(&name).map_err(driver(&name))?;
        // A kernel must request dynamic shared memory above 48 KiB minus its static part. The limit only grows, because
        // another thread may be about to launch with the larger one.
        if shared > 0 {
            function.set_attribute(MAX_SHARED, shared as i32).map_err(|error| {
                let message = format!(
                    "the driver refused {} KiB of shared memory ({error:?}): only data-centre GPUs have enough for heads this wide; --precision bf16 needs half",
                    shared >> 10
                );
                Error::driver(name, message)
            })?;
        }
        let handle = function.cu_function();
        kernels.insert(kernel.symbol(), (function, shared));
        Ok(handle)
    }
}

impl Emulated {
    /// Returns the kernels of a unit, which are compiled and loaded at its first use.
    fn kernels(&self, unit: Unit) -> Result<Arc<EmulatedKernels>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(match units.entry(unit) {
            Entry::Occupied(loaded) => loaded.into_mut(),
            Entry::Vacant(place) => place.insert(Arc::new(EmulatedKernels::load(unit, &self.options)?)),
        }))
    }
}
