//! Tests the lab against enumeration, identities, finite differences and another backend.
//!
//! All tests of the crate are one program, so that shared code is compiled once.

mod bandit;
mod bits;
mod contract;
mod environments;
mod hypergrid;
mod identities;
mod landscape;
#[path = "../../core/tests/numeric.rs"]
mod numeric;
mod options;
mod policy;
mod strings;
