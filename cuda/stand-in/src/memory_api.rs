//! The driver's functions for memory.

use std::ffi::{c_uchar, c_uint, c_void};

use cudarc::driver::sys::CUresult;
use cudarc::driver::sys::CUresult::{CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY};

use crate::api::{in_context, put};
use crate::driver::Driver;
use crate::refusal::{Refusal, invalid, limit, misuse};
use crate::report;
use crate::streams::DEFAULT;

fn need_pools(driver: &Driver) -> Result<(), Refusal> {
    if driver.limits.pools { Ok(()) } else { Err(misuse(CUDA_ERROR_NOT_SUPPORTED, "this GPU has no memory pools")) }
}

#[unsafe(no_mangle)]
extern "C" fn cuMemAllocAsync(address: *mut u64, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemAllocAsync", |driver| {
        need_pools(driver)?;
        put(address, driver.allocate(stream, bytes)?)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeAsync(address: u64, stream: u64) -> CUresult {
    in_context("cuMemFreeAsync", |driver| {
        need_pools(driver)?;
        driver.free(stream, address)
    })
}

/// Every stream may use what this allocates.
#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> CUresult {
    in_context("cuMemAlloc_v2", |driver| {
        let allocated = driver.allocate(DEFAULT, bytes)?;
        driver.synchronize()?;
        put(address, allocated)
    })
}

/// Waits for the device.
#[unsafe(no_mangle)]
extern "C" fn cuMemFree_v2(address: u64) -> CUresult {
    in_context("cuMemFree_v2", |driver| {
        driver.synchronize()?;
        driver.free(DEFAULT, address)
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> CUresult {
    in_context("cuMemGetInfo_v2", |driver| {
        let info = driver.memory.info();
        put(free, info.0)?;
        put(total, info.1)
    })
}

/// Memory of the host that the driver has pinned.
#[unsafe(no_mangle)]
extern "C" fn cuMemHostAlloc(place: *mut *mut c_void, bytes: usize, _flags: c_uint) -> CUresult {
    in_context("cuMemHostAlloc", |driver| {
        if !driver.limits.pinned {
            return Err(limit(CUDA_ERROR_OUT_OF_MEMORY));
        }
        put(place, driver.pinned.allocate(bytes)?.cast())
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemFreeHost(address: *mut c_void) -> CUresult {
    in_context("cuMemFreeHost", |driver| driver.free_pinned(address as u64))
}

/// Reads pinned memory when something waits for the stream, as late as a GPU may. Other memory is taken at the call, and is a finding:
/// no promise says that a GPU has read it by then. Where nothing can be pinned, the program has no choice.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(target: u64, source: *const c_void, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemcpyHtoDAsync_v2", |driver| {
        report::COPIES.add();
        let from = source as u64;
        if driver.pinned.holds(from, bytes) {
            driver.read_pinned(from, stream)?;
            return driver.enqueue(stream, &[(target, bytes)], move || {
                // SAFETY: both are allocated until after this operation.
                unsafe { (from as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
                Ok(())
            });
        }
        if driver.limits.pinned {
            return Err(invalid(format!(
                "{bytes} bytes are copied from memory that is not pinned, which the GPU may read after the call has returned"
            )));
        }
        // SAFETY: the caller vouches for the host's memory.
        let staged = unsafe { std::slice::from_raw_parts(source.cast::<u8>(), bytes) }.to_vec();
        driver.enqueue(stream, &[(target, bytes)], move || {
            // SAFETY: memory of the device is the host's, and this part of it is allocated until after this operation.
            unsafe { staged.as_ptr().copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    })
}

/// Copies when something waits for the stream: later than a GPU may, with memory that is not pinned.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(target: *mut c_void, source: u64, bytes: usize, stream: u64) -> CUresult {
    let target = target as usize;
    in_context("cuMemcpyDtoHAsync_v2", |driver| {
        report::COPIES.add();
        driver.enqueue(stream, &[(source, bytes)], move || {
            // SAFETY: as above; the caller keeps the host's memory until it has waited for the stream.
            unsafe { (source as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoDAsync_v2(target: u64, source: u64, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemcpyDtoDAsync_v2", |driver| {
        report::COPIES.add();
        driver.enqueue(stream, &[(source, bytes), (target, bytes)], move || {
            if source.abs_diff(target) < bytes as u64 {
                return Err("a copy onto itself".to_owned());
            }
            // SAFETY: as above, and the two do not overlap.
            unsafe { (source as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(target: u64, value: c_uchar, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemsetD8Async", |driver| {
        driver.enqueue(stream, &[(target, bytes)], move || {
            // SAFETY: as above.
            unsafe { (target as *mut u8).write_bytes(value, bytes) };
            Ok(())
        })
    })
}
