//! The reasons for which the driver refuses a call.

use cudarc::driver::sys::CUresult;

/// An error code for the caller, with a finding if no correct program makes such a call on any device.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: CUresult,
    pub(crate) finding: Option<String>,
}

/// Returns a refusal that is due to the device: a correct program can meet it.
pub(crate) fn limit(code: CUresult) -> Refusal {
    Refusal { code, finding: None }
}

/// Returns a refusal that is due to a mistake in the program.
pub(crate) fn misuse(code: CUresult, finding: impl Into<String>) -> Refusal {
    Refusal { code, finding: Some(finding.into()) }
}

/// Returns a [`misuse`] with the usual code for a wrong argument.
pub(crate) fn invalid(finding: impl Into<String>) -> Refusal {
    misuse(CUresult::CUDA_ERROR_INVALID_VALUE, finding)
}

/// Returns a [`misuse`] of something that FlowRL does without.
pub(crate) fn unsupported(what: impl std::fmt::Debug) -> Refusal {
    misuse(CUresult::CUDA_ERROR_NOT_SUPPORTED, format!("the stand-in does not support {what:?}"))
}

/// Returns the object that a handle stands for, or a [`misuse`] of a handle that stands for none.
pub(crate) fn live<T>(found: Option<T>, what: &str, handle: u64) -> Result<T, Refusal> {
    found.ok_or_else(|| misuse(CUresult::CUDA_ERROR_INVALID_HANDLE, format!("{handle:#x} is not a live {what}")))
}
