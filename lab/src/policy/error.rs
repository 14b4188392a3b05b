//! Errors of the policies of the lab.

use core::fmt;

use flowrl_core::backend::CpuError;

use crate::Error;

/// The reason why a policy of the lab refused its input. The message names the argument, the value it got, the value it
/// wanted and the remedy.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum PolicyError {
    /// The device failed.
    Backend(CpuError),
    /// An option is outside its range, or a slice has the wrong number of elements.
    Input(Error),
    /// A prompt is not `[0]`, the only prompt of the lab's tasks.
    Prompt {
        /// Index of this prompt in the request.
        index: usize,
    },
    /// Fewer tokens are allowed than a trajectory may need.
    MaxTokens {
        /// The value of `max_tokens`.
        got: usize,
        /// Number of actions in the longest trajectory.
        wanted: usize,
    },
    /// A completion takes an action that its state does not have, or continues after its end.
    Action {
        /// Index of the completion in the batch.
        sequence: usize,
        /// Position of the action in the completion.
        token: usize,
        /// The action.
        got: u32,
        /// The state, or `None` after the end.
        state: Option<usize>,
    },
    /// A reference policy was requested on a graph that is not a tree.
    NoReference,
    /// The environment breaks its contract.
    Environment {
        /// The state at which the fault was found.
        state: usize,
        /// The rule that this state breaks.
        rule: &'static str,
    },
    /// A backward pass was requested without a forward pass since the last update.
    NoForward,
    /// A checkpoint lacks a list of numbers, or has it with another length.
    State {
        /// Name of the list, for example `layers.0.weight.value`.
        name: alloc::string::String,
        /// Number of elements that this list should have.
        wanted: usize,
    },
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(error) => error.fmt(f),
            Self::Input(error) => error.fmt(f),
            Self::Prompt { index } => {
                write!(f, "prompt {index} is unknown: tasks of the lab have one prompt, the single token 0")
            }
            Self::MaxTokens { got, wanted } => write!(
                f,
                "`max_tokens` is {got}, but a trajectory may take {wanted} actions and cannot be cut: set it to {wanted} or more"
            ),
            Self::Action { sequence, token, got, state: Some(state) } => {
                write!(f, "token {token} of completion {sequence} is {got}, which is not an action of state {state}")
            }
            Self::Action { sequence, token, got, state: None } => {
                write!(f, "token {token} of completion {sequence} is {got}, but the completion has already ended")
            }
            Self::NoReference => f.write_str(
                "there is no reference policy if objects can be reached in several ways, only a backward policy: use FlowRL, \
                 or a baseline with `kl` 0",
            ),
            Self::Environment { state, rule } => {
                write!(f, "the environment breaks its contract at state {state}: {rule}")
            }
            Self::NoForward => {
                f.write_str("`backward` needs a `forward` pass before it, with no update between the two")
            }
            Self::State { name, wanted } => {
                write!(f, "the checkpoint has no `{name}` of {wanted} numbers: it belongs to another policy or task")
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

impl From<Error> for PolicyError {
    fn from(error: Error) -> Self {
        Self::Input(error)
    }
}
