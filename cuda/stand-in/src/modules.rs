//! Modules, their kernels in the emulator, and the limits that a launch must respect.

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys::CUresult::{CUDA_ERROR_INVALID_IMAGE, CUDA_ERROR_INVALID_VALUE};
use flowrl_cuda::{EmulatedKernels, EmulatorOptions, Schedule};

use crate::limits::Limits;
use crate::ptx::Entry;
use crate::refusal::{Refusal, limit, misuse};

/// Runs the kernels of a module.
pub(crate) trait Kernels: Send + Sync {
    /// Runs one launch of a kernel. An error describes the fault of the kernel.
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String>;
}

/// Finds the kernel file that an image (machine code or PTX) was compiled from, and returns its emulated kernels and
/// its PTX.
pub(crate) fn load(image: &[u8], capability: (i32, i32)) -> Result<(Arc<dyn Kernels>, String), Refusal> {
    let refused = |why: String| misuse(CUDA_ERROR_INVALID_IMAGE, why);
    let found = flowrl_cuda::emulated_kernels(image, capability).map_err(|error| refused(error.to_string()))?;
    let unknown = || refused("the module was compiled from none of FlowRL's kernel files".to_owned());
    found.map(|(kernels, ptx)| (Arc::new(kernels) as _, ptx)).ok_or_else(unknown)
}

impl Kernels for EmulatedKernels {
    /// Threads run in random order, to expose results that depend on the order.
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String> {
        static LAUNCHES: AtomicU64 = AtomicU64::new(0);
        let schedule = Schedule::Random(LAUNCHES.fetch_add(1, Ordering::Relaxed));
        let options = EmulatorOptions { schedule, ..EmulatorOptions::default() };
        let arguments: Vec<*mut c_void> =
            launch.arguments.iter().map(|value| value.as_ptr().cast_mut().cast()).collect();
        // SAFETY: there are as many arguments as the kernel's PTX declares, and their addresses were checked.
        unsafe { self.run(kernel, &options, (launch.grid, launch.block, launch.shared), &arguments) }
    }
}

/// A loaded module.
pub(crate) struct Module {
    pub(crate) entries: Vec<Entry>,
    pub(crate) kernels: Arc<dyn Kernels>,
}

/// A kernel of a module.
#[derive(Clone)]
pub(crate) struct Function {
    pub(crate) module: u64,
    pub(crate) entry: Entry,
    pub(crate) kernels: Arc<dyn Kernels>,
    /// Bytes of dynamic shared memory that a launch may request, if the program has set this limit.
    pub(crate) dynamic: Option<usize>,
}

/// The sizes of a launch, and its arguments as they were at the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared: u32,
    /// The bytes of each argument, at the start of eight.
    pub(crate) arguments: Vec<[u8; 8]>,
}

impl Function {
    /// Returns the bytes of dynamic shared memory that a launch may request.
    pub(crate) fn dynamic(&self) -> usize {
        self.dynamic.unwrap_or(Limits::SHARED.saturating_sub(self.entry.shared))
    }

    /// Sets the limit of dynamic shared memory, if the device has that much.
    pub(crate) fn allow(&mut self, dynamic: i32, limits: &Limits) -> Result<(), Refusal> {
        let refused = || limit(CUDA_ERROR_INVALID_VALUE);
        let bytes = usize::try_from(dynamic).map_err(|_| refused())?;
        if bytes + self.entry.shared > limits.shared() {
            return Err(refused());
        }
        self.dynamic = Some(bytes);
        Ok(())
    }

    /// Checks a launch against the limits of the device and those that the kernel declares.
    pub(crate) fn check(&self, launch: &Launch) -> Result<(), Refusal> {
        let fits =
            |sizes: [u32; 3], most: [u32; 3]| sizes.iter().zip(most).all(|(size, most)| (1..=most).contains(size));
        let threads: u64 = launch.block.iter().map(|size| u64::from(*size)).product();
        let most = self.entry.threads.unwrap_or(Limits::THREADS).min(Limits::THREADS);
        if !fits(launch.grid, Limits::GRID) || !fits(launch.block, Limits::BLOCK) || threads > u64::from(most) {
            return Err(limit(CUDA_ERROR_INVALID_VALUE));
        }
        if launch.shared as usize > self.dynamic() {
            return Err(limit(CUDA_ERROR_INVALID_VALUE));
        }
        Ok(())
    }
}
