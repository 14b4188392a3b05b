//! Policies on environments: gradients, bits, convergence, and what is refused.

#[path = "lab_policy/bits.rs"]
mod bits;
#[path = "lab_policy/convergence.rs"]
mod convergence;
#[path = "lab_policy/gradients.rs"]
mod gradients;
#[path = "lab_policy/harness.rs"]
mod harness;
#[path = "lab_policy/refusals.rs"]
mod refusals;
