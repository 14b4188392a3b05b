//! Rewards: mathematical answers, code that passes tests, and verifiers in any language.

#![forbid(unsafe_code)]

pub mod code;
pub mod math;
