//! Modules, their kernels, and the limits that a launch must respect.

use std::sync::Arc;

use cudarc::driver::sys::CUresult::CUDA_ERROR_INVALID_VALUE;

use crate::limits::Limits;
use crate::ptx::Entry;
use crate::refusal::{Refusal, limit};

/// Runs the kernels of a module.
pub(crate) trait Kernels: Send + Sync {
    /// Runs one launch of a kernel. An error describes the fault of the kernel.
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String>;
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
