//! The integration tests of this crate, in one program.

mod chat;
mod checkpoint;
mod common;
mod engine;
mod golden;
mod number;
mod operations;
mod verifiers;
