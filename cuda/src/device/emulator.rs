//! Kernels that the system's C++ compiler has made into shared libraries.

use std::ffi::{CStr, c_void};

use crate::emulated::{self, EmulatorOptions, RawOptions};
use crate::error::{Error, Result};
use crate::unit::Unit;

/// The entry of a kernel, which the emulator's shim.hpp defines.
type Entry = unsafe extern "C" fn(
    options: *const RawOptions,
    blocks: *const u32,
    threads: *const u32,
    shared: u64,
    arguments: *const *mut c_void,
    message: *mut u8,
    capacity: u64,
) -> i32;

/// The kernels of a unit, for the emulator.
#[derive(Debug)]
pub struct EmulatedKernels(libloading::Library);

impl EmulatedKernels {
    pub(super) fn load(unit: Unit, options: &EmulatorOptions) -> Result<Self> {
        let path = emulated::compile(unit, options)?;
        // SAFETY: the library is compiled from this crate's own text and has no initialisers except the C++ runtime's.
        let library = unsafe { libloading::Library::new(&path) };
        library.map(Self).map_err(|error| Error::driver(format!("load {}", path.display()), error.to_string()))
    }

    /// Runs a kernel on a grid of `blocks`, each of `threads` and with `shared` bytes of dynamic shared memory.
    ///
    /// # Errors
    /// Returns the emulator's message if the kernel fails.
    ///
    /// # Safety
    /// `arguments` must point to arguments that match the kernel's in number and type, and pointers among them must be
    /// valid for everything the kernel reads and writes.
    pub unsafe fn run(
        &self,
        kernel: &str,
        options: &EmulatorOptions,
        (blocks, threads, shared): ([u32; 3], [u32; 3], u32),
        arguments: &[*mut c_void],
    ) -> Result<(), String> {
        // SAFETY: the shim defines this function with this signature.
        let entry = unsafe { self.0.get::<Entry>(format!("emulated_{kernel}")) };
        let entry = entry.map_err(|error| format!("the kernel is not found: {error}"))?;
        let (mut message, options) = ([0_u8; 4096], options.raw());
        let (text, capacity) = (message.as_mut_ptr(), message.len() as u64);
        let (blocks, threads) = (blocks.as_ptr(), threads.as_ptr());
        // SAFETY: the caller vouches for the arguments, and `message` has room for `capacity` bytes.
        match unsafe { entry(&raw const options, blocks, threads, shared.into(), arguments.as_ptr(), text, capacity) } {
            0 => Ok(()),
            _ => Err(CStr::from_bytes_until_nul(&message).unwrap_or_default().to_string_lossy().into_owned()),
        }
    }
}
