//! Policies on environments: gradients, bits, convergence and refused input.

mod bits;
mod convergence;
mod gradients;
mod harness;
mod refusals;
