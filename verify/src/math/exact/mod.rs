//! Exact algebra: quotients of polynomials in variables, roots of primes, π, e, i and functions.

mod fraction;
mod poly;

pub(super) use poly::{Fraction, Poly};
