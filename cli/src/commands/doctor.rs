//! `doctor`: what training on a GPU needs, and what of it is here.

use std::process::ExitCode;

use anyhow::Result;

/// Runs the command. The exit status is 0 where a GPU can train, 1 elsewhere.
///
/// # Errors
/// Where nothing can be printed; in a build without the feature `cuda`.
#[cfg(feature = "cuda")]
pub fn run(json: bool) -> Result<ExitCode> {
    let report = flowrl_cuda::doctor();
    if json {
        let mut value = serde_json::to_value(&report)?;
        value["can_train"] = report.can_train().into();
        crate::say!("{value}");
    } else {
        crate::say!("{report}");
    }
    Ok(if report.can_train() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the command.
///
/// # Errors
/// Always: this build has no part for GPUs.
#[cfg(not(feature = "cuda"))]
pub fn run(_json: bool) -> Result<ExitCode> {
    anyhow::bail!("no GPU can train: {}", crate::device::WITHOUT_CUDA)
}
