//! Errors of the tasks of the lab.

use core::fmt;

/// Largest number of states or objects of a task. A task with more is refused, since it could not be enumerated.
pub const MAX_STATES: usize = 1 << 24;

/// The reason why a task was refused. The message names the option, its value, the values it may have and the remedy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// An option is outside its range.
    Option {
        /// The option as it is spelled in a file, for example `side`.
        option: &'static str,
        /// Its value.
        got: f64,
        /// The range that this option must lie in.
        want: &'static str,
    },
    /// The task has more states or objects than can be enumerated.
    TooMany {
        /// The things counted: `states`, `objects`, or `pairs of state and action`.
        of: &'static str,
        /// The count, rounded. It is infinite if it overflows an f64.
        got: f64,
        /// The largest count that this module allows.
        limit: usize,
        /// The options to lower.
        lower: &'static str,
    },
    /// A list has the wrong number of elements.
    Length {
        /// The list with the wrong length.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length that this list should have.
        want: usize,
    },
    /// An element of a list is NaN or infinite.
    NonFinite {
        /// The list that holds the value.
        argument: &'static str,
        /// Index of the value.
        index: usize,
        /// The value.
        got: f64,
    },
    /// A weight is 0, negative, NaN or infinite.
    Weight {
        /// The list that holds the weight.
        argument: &'static str,
        /// Index of the weight.
        index: usize,
        /// The value.
        got: f64,
    },
    /// Log-probabilities do not sum to probability 1.
    Mass {
        /// The list of log-probabilities.
        argument: &'static str,
        /// Their total probability.
        got: f64,
    },
    /// Two elements that should differ are equal.
    Duplicate {
        /// The list that holds the two.
        argument: &'static str,
        /// Indices of the two elements.
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
                write!(f, "`{argument}[{index}]` is {got}, but must be finite: leave out impossible answers")
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

/// Returns base^exponent, or an error if that is above [`MAX_STATES`].
pub(super) fn power(of: &'static str, base: usize, exponent: usize, lower: &'static str) -> Result<usize, Error> {
    let count = u32::try_from(exponent).ok().and_then(|e| base.checked_pow(e)).filter(|&n| n <= MAX_STATES);
    let got = libm::pow(base as f64, exponent as f64);
    count.ok_or(Error::TooMany { of, got, limit: MAX_STATES, lower })
}

/// Checks the number of planted modes against the number of `objects`.
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
