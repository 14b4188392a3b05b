//! A stand-in for NVIDIA's driver and cuBLASLt, for tests of `flowrl-cuda` on machines without a GPU.
//!
//! The library exports the functions of both that `flowrl-cuda` calls through `cudarc`; one that is missing here fails with its name. What
//! a module is loaded from comes from NVIDIA's own compiler, and is found again among what it makes of FlowRL's kernel files: what runs is
//! the same file in the emulator. Matrix products are computed as cuBLASLt's documentation describes them.
//!
//! It is stricter than a GPU, since it exists to find mistakes: streams put off all work, copies to the host included, until something
//! waits for it; memory starts as NaN; every address must lie in memory that the stream may use at that point; what a correct program
//! never does is a *finding*, told on stderr, and makes the process fail. It shows nothing about speed, nor about races between warps.
//!
//! Environment: `FLOWRL_STAND_IN_CAPABILITY` (such as 8.9), `FLOWRL_STAND_IN_MEMORY` (bytes), `FLOWRL_STAND_IN_DRIVER` (the version of CUDA,
//! such as 12.4), `FLOWRL_STAND_IN_POOLS=0` (a GPU without memory pools), `FLOWRL_STAND_IN_CUBINS=0` (a driver that loads PTX alone),
//! `FLOWRL_STAND_IN_PINNED=0` (a system without memory to pin), `FLOWRL_STAND_IN_REFUSED` (products that cuBLASLt refuses: any of bias, execution,
//! odd, reductions, everything, with commas between; `Refused` says which those are), `FLOWRL_STAND_IN_REPORT` (a file for a line of counts at exit).

mod api;
mod blas;
mod blas_api;
mod clock;
mod driver;
mod kernels;
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
