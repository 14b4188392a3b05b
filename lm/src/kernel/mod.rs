//! The CPU kernels of the transformer: plain functions over slices, each followed by its backward pass.

pub mod attention;
pub mod norm;
pub mod rope;
pub mod swiglu;
