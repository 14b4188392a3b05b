//! Errors of devices.

use core::error::Error;
use core::fmt;

/// The kind of a failure, on which generic code can act.
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
    /// Returns the kind of this failure.
    fn kind(&self) -> ErrorKind;
}

/// An error of the [`CpuBackend`](super::CpuBackend).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CpuError {
    /// A buffer is too short.
    Shape {
        /// Name of the argument.
        argument: &'static str,
        /// Number of elements it has.
        got: usize,
        /// Smallest number of elements that is needed.
        wanted: usize,
    },
    /// An index is out of range.
    Index {
        /// Name of the argument.
        argument: &'static str,
        /// Value of the index.
        got: usize,
        /// Upper bound that the index must stay below.
        below: usize,
    },
    /// An element breaks a rule of its argument.
    Rule {
        /// Name of the argument.
        argument: &'static str,
        /// Position of the element.
        index: usize,
        /// Rule for the element, worded to follow "must".
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

/// Checks that `argument` holds at least `wanted` elements; otherwise returns [`CpuError::Shape`].
pub fn check_len(argument: &'static str, got: usize, wanted: usize) -> Result<(), CpuError> {
    if got < wanted { Err(CpuError::Shape { argument, got, wanted }) } else { Ok(()) }
}

/// Checks that each of these arguments, given with its length, holds at least `wanted` elements.
pub(super) fn check_lens<const N: usize>(wanted: usize, lengths: [(&'static str, usize); N]) -> Result<(), CpuError> {
    lengths.into_iter().try_for_each(|(argument, got)| check_len(argument, got, wanted))
}

/// Checks that there are at least `rows` targets, all below `vocab`.
pub(super) fn check_targets(targets: &[u32], rows: usize, vocab: usize) -> Result<(), CpuError> {
    check_len("targets", targets.len(), rows)?;
    match targets[..rows].iter().find(|&&t| t as usize >= vocab) {
        Some(&got) => Err(CpuError::Index { argument: "targets", got: got as usize, below: vocab }),
        None => Ok(()),
    }
}
