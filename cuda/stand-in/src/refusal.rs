//! Why a call is refused.

use cudarc::driver::sys::CUresult;

/// An error code for the caller. With a finding if no correct program would have made the call, whatever the device.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: CUresult,
    pub(crate) finding: Option<String>,
}

/// The device cannot do it, and says so.
pub(crate) fn limit(code: CUresult) -> Refusal {
    Refusal { code, finding: None }
}

/// The program is wrong.
pub(crate) fn misuse(code: CUresult, finding: impl Into<String>) -> Refusal {
    Refusal { code, finding: Some(finding.into()) }
}

/// The usual code for a wrong argument.
pub(crate) fn invalid(finding: impl Into<String>) -> Refusal {
    misuse(CUresult::CUDA_ERROR_INVALID_VALUE, finding)
}
