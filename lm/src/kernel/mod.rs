//! The transformer's kernels on the CPU: plain functions over slices, each beside its backward.

pub mod attention;
pub mod norm;
pub mod rope;
pub mod swiglu;
