//! Runs FlowRL's kernels in the emulator.

use std::ffi::c_void;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cudarc::driver::sys::CUresult::CUDA_ERROR_INVALID_IMAGE;

use crate::modules::{Kernels, Launch};
use crate::refusal::{Refusal, misuse};

/// The layout of `EmulatorOptions` in `cuda/emulator/interface.hpp`.
#[repr(C)]
struct Options {
    schedule: u32,
    threads: u32,
    seed: u64,
}

/// The schedule that runs threads in random order, to expose results that depend on the order.
const RANDOM: u32 = 2;

/// The type of the function `emulated_NAME` in a compiled kernel file.
type Run = unsafe extern "C" fn(
    options: *const Options,
    grid: *const u32,
    block: *const u32,
    shared: u64,
    arguments: *const *const c_void,
    message: *mut u8,
    capacity: u64,
) -> i32;

struct Emulated(libloading::Library);

/// Finds the kernel file that an image (machine code or PTX) was compiled from, and returns its emulated kernels and
/// its PTX.
pub(crate) fn load(image: &[u8], capability: (i32, i32)) -> Result<(Arc<dyn Kernels>, String), Refusal> {
    let refused = |why: String| misuse(CUDA_ERROR_INVALID_IMAGE, why);
    let found = flowrl_cuda::emulated_library(image, capability).map_err(|error| refused(error.to_string()))?;
    let (path, ptx) =
        found.ok_or_else(|| refused("the module was compiled from none of FlowRL's kernel files".to_owned()))?;
    let kernels = open(&path).map_err(|error| refused(format!("{}: {error}", path.display())))?;
    Ok((kernels, ptx))
}

fn open(path: &Path) -> Result<Arc<dyn Kernels>, libloading::Error> {
    // SAFETY: the library is compiled from FlowRL's own sources, and only the C++ runtime runs code when it loads.
    Ok(Arc::new(Emulated(unsafe { libloading::Library::new(path) }?)))
}

impl Kernels for Emulated {
    fn run(&self, kernel: &str, launch: &Launch) -> Result<(), String> {
        static LAUNCHES: AtomicU64 = AtomicU64::new(0);
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u32);
        let options = Options { schedule: RANDOM, threads, seed: LAUNCHES.fetch_add(1, Ordering::Relaxed) };
        let arguments: Vec<*const c_void> = launch.arguments.iter().map(|value| value.as_ptr().cast()).collect();
        let mut message = [0_u8; 4096];
        // SAFETY: the file defines this function with this signature, `message.len()` is passed as its capacity, there
        // are as many arguments as the kernel's PTX declares, and their addresses were checked.
        let failed = unsafe {
            let run = self.0.get::<Run>(format!("emulated_{kernel}")).map_err(|error| error.to_string())?;
            run(
                &raw const options,
                launch.grid.as_ptr(),
                launch.block.as_ptr(),
                launch.shared.into(),
                arguments.as_ptr(),
                message.as_mut_ptr(),
                message.len() as u64,
            )
        };
        if failed == 0 {
            return Ok(());
        }
        let end = message.iter().position(|&byte| byte == 0).unwrap_or(message.len());
        Err(String::from_utf8_lossy(&message[..end]).into_owned())
    }
}
