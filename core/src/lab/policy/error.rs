//! What a policy of the lab refuses.

use core::fmt;

use crate::backend::CpuError;

/// Why a policy of the lab refused its input. The message says which argument, what it got, what it wanted and what to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The device failed.
    Backend(CpuError),
    /// An option is outside its range.
    Option {
        /// The option as it is spelled in a file, e.g. `width`.
        option: &'static str,
        /// Its value.
        got: f64,
        /// The range.
        want: &'static str,
    },
    /// A prompt is not the only one that a task of the lab has, the single token 0.
    Prompt {
        /// The prompt, counted in the request.
        index: usize,
    },
    /// Fewer tokens are allowed than a trajectory may need.
    MaxTokens {
        /// `max_tokens`.
        got: usize,
        /// Actions of the longest trajectory.
        want: usize,
    },
    /// A completion takes an action that its state does not have, or goes on after its end.
    Action {
        /// The completion, counted in the batch that was passed.
        sequence: usize,
        /// The position in it.
        token: usize,
        /// The action.
        got: u32,
        /// The state; `None` after the end.
        state: Option<usize>,
    },
    /// A reference policy was asked for where objects are reached in several ways.
    NoReference,
    /// An environment breaks its contract.
    Environment {
        /// The state at which it shows.
        state: usize,
        /// What must hold there.
        rule: &'static str,
    },
    /// A backward pass without a forward pass since the last update.
    NoForward,
    /// A slice has the wrong number of elements.
    Length {
        /// The slice.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The length it should have.
        want: usize,
    },
    /// A checkpoint lacks a list of numbers, or has one of another length.
    State {
        /// The list, e.g. `layers.0.weight.value`.
        name: alloc::string::String,
        /// Elements that it should have.
        want: usize,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Option { option, got, want } => write!(f, "option `{option}` is {got}, but must be {want}"),
            Self::Prompt { index } => {
                write!(f, "prompt {index} is unknown: tasks of the lab have one prompt, the single token 0")
            }
            Self::MaxTokens { got, want } => write!(
                f,
                "`max_tokens` is {got}, but a trajectory may take {want} actions and cannot be cut: set it to {want} or more"
            ),
            Self::Action { sequence, token, got, state: Some(state) } => {
                write!(f, "token {token} of completion {sequence} is {got}, no action of state {state}")
            }
            Self::Action { sequence, token, got, state: None } => {
                write!(f, "token {token} of completion {sequence} is {got}, but the completion has ended before")
            }
            Self::NoReference => f.write_str(
                "there is no reference policy where objects are reached in several ways, only a backward policy: use FlowRL, or \
                 a baseline with `kl` 0",
            ),
            Self::Environment { state, rule } => {
                write!(f, "the environment breaks its contract at state {state}: {rule}")
            }
            Self::NoForward => {
                f.write_str("`backward` needs a `forward` pass before it, with no update between the two")
            }
            Self::Length { argument, got, want } => {
                write!(f, "`{argument}` has {got} elements, but must have {want}")
            }
            Self::State { name, want } => {
                write!(f, "the checkpoint has no `{name}` of {want} numbers: it is of another policy or task")
            }
        }
    }
}

impl core::error::Error for PolicyError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Backend(error) => Some(error),
            _ => None,
        }
    }
}

impl From<CpuError> for PolicyError {
    fn from(error: CpuError) -> Self {
        Self::Backend(error)
    }
}

/// Checks the length of a slice.
pub(super) fn check_length(argument: &'static str, got: usize, want: usize) -> Result<(), PolicyError> {
    if got == want { Ok(()) } else { Err(PolicyError::Length { argument, got, want }) }
}
