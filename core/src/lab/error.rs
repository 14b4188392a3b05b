//! What can be wrong with a task of the lab.

use core::fmt;

/// States or objects of a task at most: beyond, nothing is enumerated and the task is refused.
pub const MAX_STATES: usize = 1 << 24;

/// Why a task was refused. The message says which option, what it is, what it should be and what to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An option is outside its range.
    Option {
        /// The option as it is spelled in a file, e.g. `side`.
        option: &'static str,
        /// Its value.
        got: f64,
        /// The range.
        want: &'static str,
    },
    /// The task has more states or objects than can be enumerated.
    TooMany {
        /// `states` or `objects`.
        of: &'static str,
        /// How many (rounded; infinite where there is no number for it).
        got: f64,
        /// The bound.
        limit: usize,
        /// The options that make it smaller.
        lower: &'static str,
    },
    /// A list has the wrong number of elements.
    Length {
        /// The list.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length it should have.
        want: usize,
    },
    /// An element of a list is NaN or infinite.
    NonFinite {
        /// The list.
        argument: &'static str,
        /// Position in it.
        index: usize,
        /// The value.
        got: f64,
    },
    /// A weight that is 0, negative, NaN or infinite.
    Weight {
        /// The list.
        argument: &'static str,
        /// Position in it.
        index: usize,
        /// The value.
        got: f64,
    },
    /// Log-probabilities that do not sum to probability 1.
    Mass {
        /// The list.
        argument: &'static str,
        /// Their total probability.
        got: f64,
    },
    /// Two elements that should differ are equal.
    Duplicate {
        /// The list.
        argument: &'static str,
        /// Positions of the two.
        indices: [usize; 2],
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Option { option, got, want } => write!(f, "option `{option}` is {got}, but must be {want}"),
            Self::TooMany { of, got, limit, lower } => {
                write!(f, "the task has {got:.4e} {of}, but at most {limit} are enumerated: lower {lower}")
            }
            Self::Length { argument, got, want } => {
                write!(f, "`{argument}` has {got} elements, but must have {want}")
            }
            Self::NonFinite { argument, index, got } => {
                write!(f, "`{argument}[{index}]` is {got}, but must be finite: leave out what is impossible")
            }
            Self::Weight { argument, index, got } => {
                write!(f, "`{argument}[{index}]` is {got}, but must be above 0 and finite")
            }
            Self::Mass { argument, got } => {
                write!(f, "`{argument}` sums to a probability of {got}, but must sum to 1: normalise it")
            }
            Self::Duplicate { argument, indices: [a, b] } => {
                write!(f, "`{argument}[{a}]` and `{argument}[{b}]` are equal, but must differ: leave out one")
            }
        }
    }
}

impl core::error::Error for Error {}

/// base^exponent where it can be enumerated.
pub(super) fn power(of: &'static str, base: usize, exponent: usize, lower: &'static str) -> Result<usize, Error> {
    let count = u32::try_from(exponent).ok().and_then(|e| base.checked_pow(e)).filter(|&n| n <= MAX_STATES);
    let got = libm::pow(base as f64, exponent as f64);
    count.ok_or(Error::TooMany { of, got, limit: MAX_STATES, lower })
}

/// Checks a number of planted modes among `objects`.
pub(super) fn planted(modes: usize, objects: usize) -> Result<(), Error> {
    if (1..=objects.min(1024)).contains(&modes) {
        return Ok(());
    }
    Err(Error::Option {
        option: "modes",
        got: modes as f64,
        want: "between 1 and 1024, and not above the number of objects",
    })
}
