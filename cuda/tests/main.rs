//! Tests every operation on the CPU, in the emulator and, if there is one, on a GPU, in one program.

#[macro_use]
mod common;

mod attention;
mod body;
mod elementwise;
mod emulator;
mod nvidia;
mod objective;
mod objective_device;
mod objective_training;
mod optimizer;
mod partition;
mod probability;
mod sampling;
