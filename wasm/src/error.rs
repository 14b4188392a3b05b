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

/// Implements `From` for the errors in the table.
macro_rules! from {
    ($($error:ty => |$name:ident| $into:expr;)+) => {
        $(
            impl From<$error> for Error {
                fn from($name: $error) -> Self {
                    $into
                }
            }
        )+
    };
}

from! {
    flowrl_lab::Error => |error| Self::Task(error);
    exact::Error => |error| Self::Exact(error);
    TrainError<PolicyError> => |error| Self::Train(error);
    PolicyError => |error| Self::Train(TrainError::Policy(error));
    CpuError => |error| PolicyError::from(error).into();
    objective::Error => |error| Self::Train(error.into());
}
