#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
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
