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
