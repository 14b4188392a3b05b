//! Errors of the CUDA backend, with their remedies.

use flowrl_core::backend::{BackendError, CpuError, ErrorKind};

/// The result of functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the [`CudaBackend`](crate::CudaBackend).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A CUDA library is missing.
    #[error("CUDA's library {library} was not found; {advice}. `flowrl-cli doctor` checks every library")]
    NoCuda {
        /// Name of the library.
        library: &'static str,
        /// How to get the library.
        advice: String,
    },
    /// The C++ compiler that the emulator needs did not start.
    #[error(
        "the emulator compiles kernels with `{command}`, which failed to start: {message}; install g++ or clang, or name a compiler in CXX"
    )]
    NoCompiler {
        /// Command of the compiler.
        command: String,
        /// Message from the system.
        message: String,
    },
    /// A kernel did not compile.
    #[error("{kernel} did not compile:\n{log}")]
    Compile {
        /// File and storage type of the kernel.
        kernel: String,
        /// Messages of the compiler.
        log: String,
    },
    /// The driver, a library or the emulator refused an operation.
    #[error("{operation}: {message}")]
    Driver {
        /// The operation that failed.
        operation: String,
        /// Message of the driver, library or emulator.
        message: String,
    },
    /// The device is out of memory.
    #[error(
        "the device has {free} bytes of memory left, but {wanted} are needed; a smaller train.micro_batch or model.recompute = true needs less"
    )]
    OutOfMemory {
        /// Bytes requested.
        wanted: usize,
        /// Bytes free at the time.
        free: usize,
    },
    /// An argument is invalid. The checks are those of the CPU backend.
    #[error(transparent)]
    Argument(#[from] CpuError),
    /// The storage types of an operation's buffers do not match.
    #[error("`{argument}` is stored as {got}, but this operation needs {wanted}")]
    Storage {
        /// Name of the argument.
        argument: &'static str,
        /// Storage type of the argument.
        got: &'static str,
        /// Storage type that the operation needs.
        wanted: &'static str,
    },
}

impl Error {
    pub(crate) fn driver(operation: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Driver { operation: operation.into(), message: message.into() }
    }
}

impl BackendError for Error {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Argument(error) => error.kind(),
            Self::Storage { .. } => ErrorKind::Shape,
            Self::OutOfMemory { .. } => ErrorKind::OutOfMemory,
            _ => ErrorKind::Device,
        }
    }
}
