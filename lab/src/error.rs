//! Errors of the tasks of the lab.

use core::fmt;

use flowrl_core::exact::log_sum_exp;

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
        wanted: &'static str,
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
        wanted: usize,
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
            Self::Option { option, got, wanted } => write!(f, "option `{option}` is {got}, but must be {wanted}"),
            Self::TooMany { of, got, limit, lower } => {
                write!(f, "the task has {got:.4e} {of}, but at most {limit} are enumerated: lower {lower}")
            }
            Self::Length { argument, got, wanted } => {
                write!(f, "`{argument}` has {got} elements, but must have {wanted}")
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

/// Checks that an option is in its range.
pub(super) fn ensure(is_in_range: bool, option: &'static str, got: f64, wanted: &'static str) -> Result<(), Error> {
    if is_in_range { Ok(()) } else { Err(Error::Option { option, got, wanted }) }
}

/// Checks rewards and natural log-probabilities of a reference, one of each per answer. Returns the logarithm of the
/// reference's total probability, which is 1 within 10⁻⁶.
pub(super) fn check_answers(rewards: &[f64], ref_log_probs: &[f64], answers: usize) -> Result<f64, Error> {
    for (argument, values) in [("rewards", rewards), ("ref_log_probs", ref_log_probs)] {
        check_len(argument, values.len(), answers)?;
        if let Some(index) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::NonFinite { argument, index, got: values[index] });
        }
    }
    let log_mass = log_sum_exp(ref_log_probs);
    if libm::expm1(log_mass).abs() > 1e-6 {
        return Err(Error::Mass { argument: "ref_log_probs", got: libm::exp(log_mass) });
    }
    Ok(log_mass)
}

pub(super) fn check_len(argument: &'static str, got: usize, wanted: usize) -> Result<(), Error> {
    if got == wanted { Ok(()) } else { Err(Error::Length { argument, got, wanted }) }
}

/// Checks the number of planted modes against the number of `objects`.
pub(super) fn planted(modes: usize, objects: usize) -> Result<(), Error> {
    let wanted = "between 1 and 1024, and not above the number of objects";
    ensure((1..=objects.min(1024)).contains(&modes), "modes", modes as f64, wanted)
}
