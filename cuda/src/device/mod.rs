//! The devices, and all unsafe code of this crate: memory, launches, matrix products, and whatever is called through
//! the driver, NVRTC and cuBLASLt. Review this folder for soundness.
//!
//! The functions that it exports are safe. They check that each memory belongs to the device and is as long as the
//! caller says that a kernel needs. The one fact that neither they nor Rust can check is that a kernel stays within the
//! lengths of its row in the table of [`crate::kernels`]. The emulator checks this under AddressSanitizer: see
//! `cargo xtask sanitize`.

mod blas;
mod compile;
mod driver;
mod emulator;
mod launch;
mod memory;
mod nvrtc;
mod open;
mod product;
mod staging;
mod transfer;

#[cfg(feature = "stand-in")]
pub use compile::emulated_kernels;
pub use compile::{CompiledKernels, compile_kernels};
pub(crate) use compile::{FOLDER, newer_than_driver};
pub(crate) use driver::{DeviceFacts, cublaslt_version, devices, driver_version, keep_freed_memory, load, require};
pub use emulator::EmulatedKernels;
pub(crate) use launch::{Argument, Kernel};
pub(crate) use memory::Memory;
pub(crate) use nvrtc::nvrtc_version;
pub(crate) use open::Device;
pub(crate) use product::Operands;
