//! What a race refuses.

use std::fmt;

use flowrl_core::backend::CpuError;
use flowrl_core::lab::{self, PolicyError};
use flowrl_core::train::TrainError;
use flowrl_core::{exact, objective};

/// Why something was refused; the message says which argument, what it is and what it should be.
#[derive(Debug)]
pub enum Error {
    /// A number outside its range.
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        got: f64,
        /// The range.
        want: &'static str,
    },
    /// A name that nothing has.
    Name {
        /// The argument.
        argument: &'static str,
        /// What it is.
        got: String,
        /// What it may be.
        want: String,
    },
    /// Bytes that no race of this kind saved.
    Saved,
    /// The task was refused.
    Task(lab::Error),
    /// Numbers that have no distribution.
    Exact(exact::Error),
    /// Training failed.
    Train(TrainError<PolicyError>),
}

impl Error {
    pub(crate) fn name(argument: &'static str, got: &str, want: impl IntoIterator<Item = &'static str>) -> Self {
        let want = want.into_iter().collect::<Vec<_>>().join(", ");
        Self::Name { argument, got: got.to_owned(), want }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { option, got, want } => write!(f, "`{option}` is {got}, but must be {want}"),
            Self::Name { argument, got, want } => write!(f, "`{argument}` is \"{got}\", but must be one of {want}"),
            Self::Saved => f.write_str("`bytes` were saved by another kind of race: start it with the same options"),
            Self::Task(error) => error.fmt(f),
            Self::Exact(error) => error.fmt(f),
            Self::Train(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<lab::Error> for Error {
    fn from(error: lab::Error) -> Self {
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
