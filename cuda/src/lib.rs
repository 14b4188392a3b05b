#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
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
