//! Runs code against tests, in a sandbox.
