//! Judges mathematical answers: numbers, closed forms, functions, tuples, sets, intervals, equations and words.
//!
//! [`extract`] finds the answer that a completion states, and [`compare`] compares it with the correct one, exactly. See
//! `docs/verifiers.md` for the rule and examples.

mod answer;
mod canonical;
mod clean;
mod compare;
mod exact;
mod expr;
mod extract;
mod gold;
mod gsm8k;
mod judge;
mod letters;
mod numeric;
mod parse;
mod scalar;
mod token;
mod units;
mod value;
mod verifier;

pub use canonical::canonical;
pub use compare::compare;
pub use extract::{Extracted, Place, extract};
pub use gsm8k::{Gsm8kFlexible, Gsm8kStrict};
pub use judge::{Verdict, is_understood, judge};
pub use scalar::Same;
pub use verifier::Math;
