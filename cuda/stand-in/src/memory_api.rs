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

/// Waits for the device, so that every stream may use the allocation.
#[unsafe(no_mangle)]
extern "C" fn cuMemAlloc_v2(address: *mut u64, bytes: usize) -> CUresult {
    in_context("cuMemAlloc_v2", |driver| {
        let allocated = driver.allocate(DEFAULT, bytes)?;
        driver.synchronize()?;
        put(address, allocated)
    })
}

/// Waits for the device before it frees the allocation.
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

/// Allocates pinned host memory.
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

/// Copies to the device. Pinned memory is read when something waits for the stream, as late as a GPU may read it. A
/// copy from other memory is a finding, since nothing guarantees that a GPU has read it when the call returns. If
/// nothing can be pinned, the program has no choice: its memory is read at the call.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyHtoDAsync_v2(target: u64, source: *const c_void, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemcpyHtoDAsync_v2", |driver| {
        report::COPIES.add();
        let from = source as u64;
        if driver.pinned.holds(from, bytes) {
            driver.read_pinned(from, stream)?;
            return driver.enqueue(stream, &[(target, bytes)], move || {
                // SAFETY: both ranges stay allocated until this operation has run.
                unsafe { (from as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
                Ok(())
            });
        }
        if driver.limits.pinned {
            return Err(invalid(format!(
                "{bytes} bytes are copied from memory that is not pinned, which the GPU may read after the call returns"
            )));
        }
        // SAFETY: the caller guarantees that the host memory is readable.
        let staged = unsafe { std::slice::from_raw_parts(source.cast::<u8>(), bytes) }.to_vec();
        driver.enqueue(stream, &[(target, bytes)], move || {
            // SAFETY: device memory is host memory here, and this part of it stays allocated until this operation has
            // run.
            unsafe { staged.as_ptr().copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    })
}

/// Copies to the host when something waits for the stream. For memory that is not pinned, that is later than on a GPU,
/// which copies it before the call returns.
#[unsafe(no_mangle)]
extern "C" fn cuMemcpyDtoHAsync_v2(target: *mut c_void, source: u64, bytes: usize, stream: u64) -> CUresult {
    let target = target as usize;
    in_context("cuMemcpyDtoHAsync_v2", |driver| {
        report::COPIES.add();
        driver.enqueue(stream, &[(source, bytes)], move || {
            // SAFETY: the device memory stays allocated until this operation has run, and the caller keeps the host
            // memory until it has waited for the stream.
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
                return Err("source and target of a copy overlap".to_owned());
            }
            // SAFETY: both ranges stay allocated until this operation has run, and they do not overlap.
            unsafe { (source as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    })
}

#[unsafe(no_mangle)]
extern "C" fn cuMemsetD8Async(target: u64, value: c_uchar, bytes: usize, stream: u64) -> CUresult {
    in_context("cuMemsetD8Async", |driver| {
        driver.enqueue(stream, &[(target, bytes)], move || {
            // SAFETY: this memory stays allocated until this operation has run.
            unsafe { (target as *mut u8).write_bytes(value, bytes) };
            Ok(())
        })
    })
}
