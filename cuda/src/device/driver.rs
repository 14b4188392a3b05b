//! What the driver and the libraries say about themselves, and the loading of the libraries.

use cudarc::cublaslt;
use cudarc::driver::sys::CUdevice_attribute::{
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR as MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR as MINOR,
};
use cudarc::driver::sys::CUmemPool_attribute_enum::{
    CU_MEMPOOL_ATTR_RELEASE_THRESHOLD as THRESHOLD, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT as RESERVED,
    CU_MEMPOOL_ATTR_USED_MEM_CURRENT as USED,
};
use cudarc::driver::{CudaContext, result, sys};

use super::memory::driver;
use crate::error::{Error, Result};
use crate::libraries::Library;

/// Loads a library, searching the folders of toolkits and wheels if the loader does not find it. Returns whether it is
/// there.
pub(crate) fn load(library: Library) -> bool {
    if on_loaders_path(library) {
        return true;
    }
    let version = if library == Library::Driver { None } else { driver_version() };
    library.candidates(version).iter().any(|path| {
        // SAFETY: loading one of NVIDIA's libraries has no precondition.
        let Ok(loaded) = (unsafe { libloading::Library::new(path) }) else { return false };
        // The library must stay loaded, so that the loader finds it when the bindings ask for its name.
        std::mem::forget(loaded);
        on_loaders_path(library)
    })
}

/// Returns whether the loader finds a library by name, and keeps it loaded so that its path can be reported.
///
/// This check comes before the bindings' first use because they panic if a library is missing. Their own check exists
/// only if they load libraries at run time, but another crate of the program may have linked them.
fn on_loaders_path(library: Library) -> bool {
    // SAFETY: loading these libraries has no precondition.
    library.names().iter().any(|name| unsafe { libloading::Library::new(name) }.map(std::mem::forget).is_ok())
}

/// Returns an error if the library cannot be loaded from anywhere.
pub(crate) fn require(library: Library) -> Result<()> {
    if load(library) {
        return Ok(());
    }
    Err(Error::NoCuda { library: library.name(), advice: library.advice(driver_version()) })
}

/// Returns the highest version of CUDA that the driver fully supports, as (major, minor).
pub(crate) fn driver_version() -> Option<(i32, i32)> {
    let mut version = 0;
    if !load(Library::Driver) {
        return None;
    }
    // SAFETY: the integer is a valid destination, and the library is loaded.
    let result = unsafe { sys::cuDriverGetVersion(&raw mut version) };
    result.result().ok().map(|()| (version / 1000, version % 1000 / 10))
}

/// Returns cuBLASLt's version as (major, minor, patch). The caller has loaded the library.
pub(crate) fn cublaslt_version() -> (usize, usize, usize) {
    // SAFETY: the function has no precondition.
    let version = unsafe { cublaslt::sys::cublasLtGetVersion() };
    (version / 10_000, version / 100 % 100, version % 100)
}

/// Facts that the driver reports about a device before anything runs on it.
pub(crate) struct DeviceFacts {
    pub(crate) name: String,
    pub(crate) capability: (i32, i32),
    pub(crate) total: usize,
}

/// Returns the driver's devices. The caller has loaded the driver's library.
pub(crate) fn devices() -> Result<Vec<DeviceFacts>> {
    use result::device;
    let facts = |ordinal| {
        let device = device::get(ordinal)?;
        // SAFETY: the device comes from the driver.
        unsafe {
            let capability = (device::get_attribute(device, MAJOR)?, device::get_attribute(device, MINOR)?);
            Ok(DeviceFacts { name: device::get_name(device)?, capability, total: device::total_mem(device)? })
        }
    };
    let count = result::init().and_then(|()| device::get_count());
    count.and_then(|count| (0..count).map(facts).collect()).map_err(driver("list the devices"))
}

/// Lets the driver keep freed memory for the next allocation instead of returning it to the system at each
/// synchronisation. A GPU without a memory pool keeps none.
pub(crate) fn keep_freed_memory(context: &CudaContext) {
    let mut everything = u64::MAX;
    // SAFETY: the context is alive, its device's pool lives as long, and the attribute is a 64-bit number.
    let _ = unsafe {
        result::device::get_default_mem_pool(context.cu_device())
            .and_then(|pool| result::mem_pool::set_attribute(pool, THRESHOLD, (&raw mut everything).cast()))
    };
}

/// Returns the bytes that allocations can still use: unused memory, and freed memory that the driver keeps.
pub(super) fn free_memory(context: &CudaContext) -> usize {
    let (mut reserved, mut used) = (0_u64, 0_u64);
    // SAFETY: as in `keep_freed_memory`.
    let _ = unsafe {
        result::device::get_default_mem_pool(context.cu_device()).and_then(|pool| {
            result::mem_pool::get_attribute(pool, RESERVED, (&raw mut reserved).cast())?;
            result::mem_pool::get_attribute(pool, USED, (&raw mut used).cast())
        })
    };
    context.mem_get_info().map_or(0, |(free, _)| free) + reserved.saturating_sub(used) as usize
}
