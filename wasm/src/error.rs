//! Errors of races.

use std::fmt;

use flowrl_core::backend::CpuError;
use flowrl_core::train::TrainError;
use flowrl_core::{exact, objective};
use flowrl_lab::PolicyError;

/// An error of a race. The message names the argument, its value and the allowed values.
#[derive(Debug)]
pub enum Error {
    /// A number is outside its range.
    Option {
        /// Name of the option.
        option: &'static str,
        /// Value of the option.
        got: f64,
        /// Description of the allowed range.
        wanted: &'static str,
    },
    /// A name is unknown.
    Name {
        /// Name of the argument.
        argument: &'static str,
        /// Value of the argument.
        got: String,
        /// Allowed names, separated by commas.
        wanted: String,
    },
    /// The bytes were not saved by a race with the same task and options.
    Saved,
    /// The task is invalid.
    Task(flowrl_lab::Error),
    /// An exact computation failed, for example because a number is not finite.
    Exact(exact::Error),
    /// Training failed.
    Train(TrainError<PolicyError>),
}

impl Error {
    pub(crate) fn name(argument: &'static str, got: &str, wanted: &[&str]) -> Self {
        Self::Name { argument, got: got.to_owned(), wanted: wanted.join(", ") }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { option, got, wanted } => write!(f, "`{option}` is {got}, but must be {wanted}"),
            Self::Name { argument, got, wanted } => write!(f, "`{argument}` is \"{got}\", but must be one of {wanted}"),
            Self::Saved => f.write_str("`bytes` were saved by another kind of race: start it with the same options"),
            Self::Task(error) => error.fmt(f),
            Self::Exact(error) => error.fmt(f),
            Self::Train(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<flowrl_lab::Error> for Error {
    fn from(error: flowrl_lab::Error) -> Self {
        Self::Task(error)
    }
}

impl From<exact::Error> for Error {
    fn from(error: exact::Error) -> Self {
        Self::Exact(error)
    }
}

impl From<TrainError<PolicyError>> for Error {
    fn from(error: TrainError<PolicyError>) -> Self {
        Self::Train(error)
    }
}

impl From<PolicyError> for Error {
    fn from(error: PolicyError) -> Self {
        Self::Train(TrainError::Policy(error))
    }
}

impl From<CpuError> for Error {
    fn from(error: CpuError) -> Self {
        PolicyError::from(error).into()
    }
}

impl From<objective::Error> for Error {
    fn from(error: objective::Error) -> Self {
        Self::Train(error.into())
    }
}
