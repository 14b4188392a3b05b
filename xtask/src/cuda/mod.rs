//! What can be checked of the CUDA kernels on a machine without a GPU, and what is packed for a machine with one.

pub(crate) mod kernels;
pub(crate) mod pack;
mod resources;
pub(crate) mod sanitize;
pub(crate) mod stand_in;
