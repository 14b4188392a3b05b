//! Runs code against tests, in a sandbox.
pub mod sandbox;
