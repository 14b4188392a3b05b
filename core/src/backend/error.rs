//! What can go wrong on a device.

use core::error::Error;
use core::fmt;

/// Which kind of failure, so that generic code can act on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A length or shape does not fit.
    Shape,
    /// An index is out of range.
    Index,
    /// The device has no memory left.
    OutOfMemory,
    /// The device or its driver failed.
    Device,
}

/// An error of a [`Backend`](super::Backend).
pub trait BackendError: Error + Send + Sync + 'static {
    /// Which kind of failure it is.
    fn kind(&self) -> ErrorKind;
}

/// An error of the [`CpuBackend`](super::CpuBackend).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuError {
    /// A buffer is too short.
    Shape {
        /// The argument.
        argument: &'static str,
        /// Its length.
        got: usize,
        /// The least that is needed.
        wanted: usize,
    },
    /// An index is out of range.
    Index {
        /// The argument.
        argument: &'static str,
        /// The index.
        got: usize,
        /// It must be below this.
        below: usize,
    },
    /// An element breaks a rule of its argument.
    Rule {
        /// The argument.
        argument: &'static str,
        /// Which element.
        index: usize,
        /// What it must do.
        rule: &'static str,
    },
}

impl fmt::Display for CpuError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape { argument, got, wanted } => {
                write!(f, "`{argument}` holds {got} elements, {wanted} are needed")
            }
            Self::Index { argument, got, below } => write!(f, "`{argument}` holds {got}, which must be below {below}"),
            Self::Rule { argument, index, rule } => write!(f, "`{argument}[{index}]` must {rule}"),
        }
    }
}

impl Error for CpuError {}

impl BackendError for CpuError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Shape { .. } | Self::Rule { .. } => ErrorKind::Shape,
            Self::Index { .. } => ErrorKind::Index,
        }
    }
}

/// Checks that `argument` holds at least `wanted` elements.
///
/// # Errors
/// [`CpuError::Shape`] with the name and both lengths.
pub fn check_len(argument: &'static str, got: usize, wanted: usize) -> Result<(), CpuError> {
    if got < wanted { Err(CpuError::Shape { argument, got, wanted }) } else { Ok(()) }
}
