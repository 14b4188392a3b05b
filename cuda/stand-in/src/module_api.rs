//! The driver's functions for modules and launches.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use cudarc::driver::sys::CUfunction_attribute;
use cudarc::driver::sys::CUresult::{
    self, CUDA_ERROR_NO_BINARY_FOR_GPU, CUDA_ERROR_NOT_FOUND, CUDA_ERROR_NOT_SUPPORTED,
};

use crate::api::{exports, in_context, put};
use crate::modules::{self, Launch};
use crate::ptx;
use crate::refusal::{Refusal, invalid, limit, misuse, unsupported};

/// Reads a NUL-terminated string of the caller.
fn text<'a>(at: *const c_char) -> Result<&'a str, Refusal> {
    if at.is_null() {
        return Err(invalid("a null pointer for a string"));
    }
    // SAFETY: the caller guarantees a string that ends with NUL and lives until the call returns.
    let text = unsafe { CStr::from_ptr(at) };
    text.to_str().map_err(|_| invalid("a string that is not UTF-8"))
}

/// The first bytes of machine code, which is an ELF file.
const ELF: [u8; 4] = *b"\x7fELF";

/// Returns the image that a module is loaded from. It is an ELF file of machine code, which tells its own length, or a
/// NUL-terminated PTX text.
fn image<'a>(at: *const u8) -> Result<&'a [u8], Refusal> {
    if at.is_null() {
        return Err(invalid("a null pointer for a module"));
    }
    let mut header = [0_u8; 64];
    for (i, byte) in header.iter_mut().enumerate() {
        // SAFETY: the caller guarantees a whole file or text. A text is left at its first byte that differs from the
        // ELF magic, and its NUL differs; a file is longer than its header.
        *byte = unsafe { at.add(i).read() };
        if *byte != *ELF.get(i).unwrap_or(byte) {
            return Ok(text(at.cast())?.as_bytes());
        }
    }
    let number = |offset: usize, bytes: usize| {
        header[offset..offset + bytes].iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte))
    };
    // The ends of the tables of segments and of sections, one of which ends the file.
    let [segments, sections] = [(0x20, 0x36), (0x28, 0x3a)].map(|(start, size)| {
        let (start, size, count) = (number(start, 8), number(size, 2), number(size + 2, 2));
        start + size * count
    });
    // SAFETY: the caller guarantees a whole file, and this is its length.
    Ok(unsafe { std::slice::from_raw_parts(at, segments.max(sections)) })
}

#[unsafe(no_mangle)]
extern "C" fn cuModuleLoadData(module: *mut u64, data: *const c_void) -> CUresult {
    let mut read = None;
    let checked = in_context("cuModuleLoadData", |driver| {
        let image = image(data.cast())?;
        if image.starts_with(&ELF) && !driver.limits.cubins {
            return Err(limit(CUDA_ERROR_NO_BINARY_FOR_GPU));
        }
        read = Some((image, driver.limits.capability));
        Ok(())
    });
    let Some((image, capability)) = read else { return checked };
    // Loading the kernels asks this driver for its version, so the driver must not be locked here.
    let found = modules::load(image, capability);
    in_context("cuModuleLoadData", |driver| {
        let (kernels, text) = found?;
        let entries = ptx::parse(&text, &driver.limits, image.starts_with(&ELF))?;
        put(module, driver.load(entries, kernels))
    })
}

exports! { in_context -> CUresult:
    fn cuModuleUnload(driver, module: u64) { driver.unload(module) }

    fn cuModuleGetFunction(driver, function: *mut u64, module: u64, name: *const c_char) {
        let name = text(name)?;
        let found = driver.find(module, name);
        if found.as_ref().is_err_and(|refusal| refusal.code == CUDA_ERROR_NOT_FOUND) {
            eprintln!("stand-in for the GPU: the module has no kernel `{name}`");
        }
        put(function, found?)
    }

    fn cuFuncSetAttribute(driver, function: u64, attribute: CUfunction_attribute, value: c_int) {
        let limits = driver.limits;
        match attribute {
            CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES => {
                driver.function(function)?.allow(value, &limits)
            }
            _ => Err(unsupported(attribute)),
        }
    }

    fn cuLaunchKernel(
        driver, function: u64, grid_x: c_uint, grid_y: c_uint, grid_z: c_uint, block_x: c_uint, block_y: c_uint,
        block_z: c_uint, shared: c_uint, stream: u64, parameters: *mut *mut c_void, extra: *mut *mut c_void,
    ) {
        let wanted = driver.function(function)?.entry.parameters.clone();
        if !extra.is_null() || (parameters.is_null() && !wanted.is_empty()) {
            return Err(misuse(CUDA_ERROR_NOT_SUPPORTED, "the stand-in takes arguments one by one"));
        }
        let argument = |(i, bytes): (usize, usize)| {
            let mut value = [0; 8];
            // SAFETY: the caller guarantees as many arguments as the kernel has parameters, each of its parameter's
            // size.
            unsafe {
                let at = parameters.add(i).read().cast::<u8>();
                at.copy_to_nonoverlapping(value.as_mut_ptr(), bytes);
            }
            value
        };
        let launch = Launch {
            grid: [grid_x, grid_y, grid_z],
            block: [block_x, block_y, block_z],
            shared,
            arguments: wanted.iter().map(|parameter| parameter.bytes).enumerate().map(argument).collect(),
        };
        driver.launch(function, stream, launch)
    }
}
