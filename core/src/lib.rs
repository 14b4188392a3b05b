//! FlowRL from bare metal up: trains a policy to *match* π_ref·exp(βr)/Z instead of collapsing onto one answer.
//!
//! The mathematical layer works on slices that the caller owns, allocates nothing, and takes every transcendental
//! function from [`libm`], so that native, WebAssembly and bare-metal builds give the same bits. The feature `alloc`,
//! which is on by default, adds types that own their buffers and the training loop. `fast` adds threads, SIMD and fast
//! matrix products, and `serde` options and batch files. A Cargo feature never changes a result.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(feature = "fast")]
extern crate std;

#[cfg(feature = "alloc")]
pub mod backend;
pub mod exact;
pub mod kernel;
pub mod metrics;
pub mod objective;
pub mod optim;
#[cfg(feature = "alloc")]
pub mod parameter;
#[cfg(feature = "alloc")]
pub mod partition;
#[cfg(feature = "alloc")]
pub mod policy;
pub mod random;
mod real;
#[cfg(feature = "alloc")]
pub mod task;
#[cfg(feature = "alloc")]
pub mod train;

pub use real::Real;

/// Runs the README's example as a test.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
