//! Policies on environments: gradients, bits, convergence, and what is refused.

mod bits;
mod convergence;
mod gradients;
mod harness;
mod refusals;
