//! The driver's functions for memory.

use std::ffi::{c_uchar, c_uint, c_void};

use cudarc::driver::sys::CUresult;
use cudarc::driver::sys::CUresult::{CUDA_ERROR_NOT_SUPPORTED, CUDA_ERROR_OUT_OF_MEMORY};

use crate::api::{exports, in_context, put};
use crate::driver::Driver;
use crate::refusal::{Refusal, invalid, limit, misuse};
use crate::report;
use crate::streams::DEFAULT;

fn need_pools(driver: &Driver) -> Result<(), Refusal> {
    if driver.limits.pools { Ok(()) } else { Err(misuse(CUDA_ERROR_NOT_SUPPORTED, "this GPU has no memory pools")) }
}

/// Queues a copy, which reads its source when something waits for the stream. `uses` are the ranges on the device.
fn copy(
    driver: &mut Driver,
    stream: u64,
    uses: &[(u64, usize)],
    (target, source, bytes): (u64, u64, usize),
) -> Result<(), Refusal> {
    driver.enqueue(stream, uses, move || {
        if source.abs_diff(target) < bytes as u64 {
            return Err("source and target of a copy overlap".to_owned());
        }
        // SAFETY: device memory is host memory here. It stays allocated until this operation has run, pinned memory
        // does too, and the caller keeps other host memory until it has waited for the stream.
        unsafe { (source as *const u8).copy_to_nonoverlapping(target as *mut u8, bytes) };
        Ok(())
    })
}

exports! { in_context -> CUresult:
    fn cuMemAllocAsync(driver, address: *mut u64, bytes: usize, stream: u64) {
        need_pools(driver)?;
        put(address, driver.allocate(stream, bytes)?)
    }

    fn cuMemFreeAsync(driver, address: u64, stream: u64) {
        need_pools(driver)?;
        driver.free(stream, address)
    }

    /// Waits for the device, so that every stream may use the allocation.
    fn cuMemAlloc_v2(driver, address: *mut u64, bytes: usize) {
        let allocated = driver.allocate(DEFAULT, bytes)?;
        driver.synchronize()?;
        put(address, allocated)
    }

    /// Waits for the device before it frees the allocation.
    fn cuMemFree_v2(driver, address: u64) {
        driver.synchronize()?;
        driver.free(DEFAULT, address)
    }

    fn cuMemGetInfo_v2(driver, free: *mut usize, total: *mut usize) {
        let info = driver.memory.info();
        put(free, info.0)?;
        put(total, info.1)
    }

    /// Allocates pinned host memory.
    fn cuMemHostAlloc(driver, place: *mut *mut c_void, bytes: usize, _flags: c_uint) {
        if !driver.limits.pinned {
            return Err(limit(CUDA_ERROR_OUT_OF_MEMORY));
        }
        put(place, driver.pinned.allocate(bytes)?.cast())
    }

    fn cuMemFreeHost(driver, address: *mut c_void) { driver.free_pinned(address as u64) }

    /// Copies to the device. Pinned memory is read when something waits for the stream, as late as a GPU may read it. A
    /// copy from other memory is a finding, since nothing guarantees that a GPU has read it when the call returns. If
    /// nothing can be pinned, the program has no choice: its memory is read at the call.
    fn cuMemcpyHtoDAsync_v2(driver, target: u64, source: *const c_void, bytes: usize, stream: u64) {
        report::count(&report::COPIES);
        let (from, uses) = (source as u64, [(target, bytes)]);
        if driver.pinned.holds(from, bytes) {
            driver.read_pinned(from, stream)?;
            return copy(driver, stream, &uses, (target, from, bytes));
        }
        if driver.limits.pinned {
            return Err(invalid(format!(
                "{bytes} bytes are copied from memory that is not pinned, which the GPU may read after the call returns"
            )));
        }
        // SAFETY: the caller guarantees that the host memory is readable.
        let staged = unsafe { std::slice::from_raw_parts(source.cast::<u8>(), bytes) }.to_vec();
        driver.enqueue(stream, &uses, move || {
            // SAFETY: as in `copy`.
            unsafe { staged.as_ptr().copy_to_nonoverlapping(target as *mut u8, bytes) };
            Ok(())
        })
    }

    /// Copies to the host when something waits for the stream. For memory that is not pinned, that is later than on a
    /// GPU, which copies it before the call returns.
    fn cuMemcpyDtoHAsync_v2(driver, target: *mut c_void, source: u64, bytes: usize, stream: u64) {
        report::count(&report::COPIES);
        copy(driver, stream, &[(source, bytes)], (target as u64, source, bytes))
    }

    fn cuMemcpyDtoDAsync_v2(driver, target: u64, source: u64, bytes: usize, stream: u64) {
        report::count(&report::COPIES);
        copy(driver, stream, &[(source, bytes), (target, bytes)], (target, source, bytes))
    }

    fn cuMemsetD8Async(driver, target: u64, value: c_uchar, bytes: usize, stream: u64) {
        driver.enqueue(stream, &[(target, bytes)], move || {
            // SAFETY: this memory stays allocated until this operation has run.
            unsafe { (target as *mut u8).write_bytes(value, bytes) };
            Ok(())
        })
    }
}
