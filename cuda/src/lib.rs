//! FlowRL on a GPU: hand-written CUDA kernels behind [`flowrl_core::backend::Backend`] and
//! [`flowrl_lm::backend::TransformerBackend`].
//!
//! The kernels in `kernels/` are CUDA C++ and are compiled on first use, either by NVRTC for a GPU or by the system's
//! C++ compiler for the emulator, which runs the same files on the CPU and checks for errors that a GPU would not
//! report. Building this crate requires no part of CUDA.
//!
//! ```no_run
//! use flowrl_core::backend::Backend;
//! use flowrl_cuda::{CudaBackend, Precision};
//! let gpu = CudaBackend::new(0, Precision::Bf16)?;
//! let x = gpu.upload(&[1.0, -1.0])?;
//! let mut y = gpu.zeros(2)?;
//! gpu.gelu(&x, &mut y, 2)?;
//! # Ok::<(), flowrl_cuda::Error>(())
//! ```

#![deny(unsafe_code)]

mod attention;
mod backend;
mod buffer;
mod cache;
mod constants;
#[allow(unsafe_code)]
mod device;
mod doctor;
mod emulated;
mod error;
mod grid;
mod kernels;
mod libraries;
mod notice;
pub mod objective;
mod product;
mod tile;
mod transformer;
mod unit;

pub use backend::{CudaBackend, probe};
pub use buffer::{Buffer, Index};
#[doc(hidden)]
pub use device::EmulatedKernels;
#[cfg(feature = "stand-in")]
#[doc(hidden)]
pub use device::emulated_kernels;
pub use device::{CompiledKernels, compile_kernels};
pub use doctor::{DeviceReport, LibraryReport, Report, doctor, software};
pub use emulated::{EmulatorOptions, Schedule};
pub use error::{Error, Result};
pub use unit::Precision;
