//! Errors of objectives that are evaluated on a device.

use core::fmt;

use crate::objective;

/// The reason why [`Backend::evaluate`](super::Backend::evaluate) or
/// [`Backend::value_loss`](super::Backend::value_loss) returned no result.
#[derive(Clone, Debug, PartialEq)]
pub enum ObjectiveError<E> {
    /// The objective refused its input, with the same error on every device.
    Input(objective::Error),
    /// The device failed.
    Device(E),
}

impl<E> From<objective::Error> for ObjectiveError<E> {
    fn from(error: objective::Error) -> Self {
        Self::Input(error)
    }
}

impl<E: fmt::Display> fmt::Display for ObjectiveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => error.fmt(f),
            Self::Device(error) => error.fmt(f),
        }
    }
}

impl<E: core::error::Error + 'static> core::error::Error for ObjectiveError<E> {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            // `Display` shows the inner error itself, so the source is the one behind it.
            Self::Input(error) => error.source(),
            Self::Device(error) => error.source(),
        }
    }
}
