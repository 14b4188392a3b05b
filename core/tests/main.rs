//! Tests the core against enumeration, identities, finite differences and another backend.
//!
//! All tests of the crate are one program, so that shared code is compiled once.

mod balance;
mod enumerable;
mod exact;
mod family;
mod numeric;
mod objective_errors;
mod objective_gradients;
mod objective_identities;
mod objective_properties;
mod objective_spec;
mod operations;
mod partition;
mod train;
