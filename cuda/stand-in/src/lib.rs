//! A stand-in for NVIDIA's driver and cuBLASLt that tests `flowrl-cuda` on machines without a GPU.
//!
//! The library exports the driver and cuBLASLt functions that `flowrl-cuda` calls through `cudarc`; a call to any other
//! function fails with that function's name. Modules come from NVIDIA's own compiler. The stand-in finds out which of
//! FlowRL's kernel files a module was compiled from, and runs that same file in the emulator. It computes matrix
//! products as cuBLASLt's documentation describes them.
//!
//! This library exists to find mistakes, so it is stricter than a GPU. Streams defer all work, even copies to the host,
//! until something waits for it. New memory holds NaN. Every address must lie in memory that the stream may use at that
//! point. A call that no correct program makes is a *finding*: the stand-in prints it to stderr and makes the process
//! fail. It says nothing about speed or about races between warps.
//!
//! These environment variables change the simulated device:
//!
//! - `FLOWRL_STAND_IN_CAPABILITY`: the compute capability, for example 8.9.
//! - `FLOWRL_STAND_IN_MEMORY`: the device's memory in bytes.
//! - `FLOWRL_STAND_IN_DRIVER`: the CUDA version of the driver, for example 12.4.
//! - `FLOWRL_STAND_IN_POOLS=0`: a GPU without memory pools.
//! - `FLOWRL_STAND_IN_CUBINS=0`: a driver that loads PTX only.
//! - `FLOWRL_STAND_IN_PINNED=0`: a host that cannot pin memory.
//! - `FLOWRL_STAND_IN_REFUSED`: the products that cuBLASLt refuses, a comma-separated list of `bias`, `execution`,
//!   `odd`, `reductions` and `everything`. `Refused` documents each.
//! - `FLOWRL_STAND_IN_REPORT`: a file to which each process appends a line of counts at exit.

mod api;
mod blas;
mod blas_api;
mod driver;
mod limits;
mod matrix;
mod memory;
mod memory_api;
mod module_api;
mod modules;
mod pinned;
mod ptx;
mod refusal;
mod report;
mod streams;
#[cfg(test)]
mod tests;
