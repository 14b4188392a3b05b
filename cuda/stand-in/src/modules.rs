//! Modules and their kernels: what a launch must keep to.

use std::sync::Arc;

use cudarc::driver::sys::CUresult::CUDA_ERROR_INVALID_VALUE;

use crate::limits::Limits;
use crate::ptx::Entry;
use crate::refusal::{Refusal, limit};

/// Runs the kernels of a module.
pub(crate) trait Kernels: Send + Sync {
    /// An error is what the kernel did wrong.
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String>;
}

/// A module that was loaded.
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
    /// Dynamic shared memory that a launch may ask for, once it was set.
    pub(crate) dynamic: Option<usize>,
}

/// A launch, with its arguments as they were at the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    pub(crate) grid: [u32; 3],
    pub(crate) block: [u32; 3],
    pub(crate) shared: u32,
    /// Each in the first of eight bytes.
    pub(crate) arguments: Vec<[u8; 8]>,
}

impl Function {
    /// What an unchanged kernel may have of dynamic shared memory.
    pub(crate) fn dynamic(&self) -> usize {
        self.dynamic.unwrap_or(Limits::SHARED.saturating_sub(self.entry.shared))
    }

    pub(crate) fn allow(&mut self, dynamic: i32, limits: &Limits) -> Result<(), Refusal> {
        let refused = || limit(CUDA_ERROR_INVALID_VALUE);
        let bytes = usize::try_from(dynamic).map_err(|_| refused())?;
        if bytes + self.entry.shared > limits.shared() {
            return Err(refused());
        }
        self.dynamic = Some(bytes);
        Ok(())
    }

    /// Grid and block against the device's limits: the programming guide's table, and what the kernel declares.
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
