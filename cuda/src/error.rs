//! What can go wrong on a GPU, and what to do about it.

use flowrl_core::backend::{BackendError, CpuError, ErrorKind};

/// An error of the [`CudaBackend`](crate::CudaBackend).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A library of CUDA is not there.
    #[error("CUDA's library {library} was not found; {advice}. `flowrl-cli doctor` shows what was looked for")]
    NoCuda {
        /// Its name.
        library: &'static str,
        /// Where to get it.
        advice: String,
    },
    /// The emulator needs a C++ compiler.
    #[error(
        "the emulator compiles kernels with `{command}`, which failed to start: {message}; install g++ or clang, or name a compiler in CXX"
    )]
    NoCompiler {
        /// The command.
        command: String,
        /// What the system said.
        message: String,
    },
    /// A kernel did not compile.
    #[error("{kernel} did not compile:\n{log}")]
    Compile {
        /// Its file and storage type.
        kernel: String,
        /// What the compiler said.
        log: String,
    },
    /// The driver, a library or the emulator refused an operation.
    #[error("{operation}: {message}")]
    Driver {
        /// What was asked of it.
        operation: String,
        /// What it said.
        message: String,
    },
    /// The device has no memory left.
    #[error(
        "the device has {free} bytes of memory left, {wanted} are needed; a smaller train.micro_batch, or model.recompute = true, needs less"
    )]
    OutOfMemory {
        /// Bytes asked for.
        wanted: usize,
        /// Bytes that were free.
        free: usize,
    },
    /// An argument does not fit; checked as on the CPU.
    #[error(transparent)]
    Argument(#[from] CpuError),
    /// Buffers of different precision in one operation.
    #[error("`{argument}` is stored as {got}, this operation needs {wanted}")]
    Storage {
        /// The argument.
        argument: &'static str,
        /// Its precision.
        got: &'static str,
        /// What is needed.
        wanted: &'static str,
    },
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
