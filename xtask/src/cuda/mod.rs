//! Checks of the CUDA code on machines without a GPU, and the archive for a machine with one.

pub(crate) mod kernels;
pub(crate) mod pack;
mod resources;
pub(crate) mod sanitize;
pub(crate) mod stand_in;
