//! From a unit's text to what a GPU loads, by NVRTC.

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError};
use cudarc::nvrtc::{CompileError, CompileOptions, Ptx, compile_ptx_with_opts};

use crate::cache;
use crate::error::Error;
use crate::unit::{Storage, Unit};

/// A unit compiled for the architecture of this context's device, from the cache where it is there.
pub(crate) fn for_gpu(unit: Unit, context: &Arc<CudaContext>) -> Result<Ptx, Error> {
    let capability = context.compute_capability().map_err(|error| Error::Driver {
        operation: "ask the device for its architecture".to_owned(),
        message: format!("{error:?}"),
    })?;
    let options = options(unit, capability);
    let source = unit.source();
    let key = cache::key(&[&source, &options.join(" "), &version()]);
    let path = cache::folder().join("ptx").join(format!("{key}.ptx"));
    if let Ok(text) = std::fs::read_to_string(&path) {
        return Ok(Ptx::from_src(text));
    }
    let compiled = compile_ptx_with_opts(&source, CompileOptions { options, ..CompileOptions::default() });
    let ptx = compiled.map_err(|error| Error::Compile { kernel: unit.name(), log: log(error) })?;
    // Without a cache the next process compiles again.
    let _ = cache::store(&path, ptx.to_src().as_bytes());
    Ok(ptx)
}

/// NVRTC's command line. Products and sums are contracted only where bf16 rounds much more than that.
pub(crate) fn options(unit: Unit, (major, minor): (i32, i32)) -> Vec<String> {
    vec![
        format!("--gpu-architecture=compute_{major}{minor}"),
        format!("--fmad={}", unit.storage == Storage::Bf16),
        "--std=c++17".to_owned(),
        // A lambda whose parameters are `auto` says nowhere else that it is of the device.
        "--device-as-default-execution-space".to_owned(),
        "--extra-device-vectorization".to_owned(),
    ]
}

fn version() -> String {
    let (major, minor) = crate::launch::nvrtc_version();
    format!("{major}.{minor}")
}

fn log(error: CompileError) -> String {
    match error {
        CompileError::CompileError { log, .. } => log.to_string_lossy().into_owned(),
        other => format!("{other:?}"),
    }
}

/// The driver refused what NVRTC made: mostly a driver older than NVRTC.
pub(crate) fn refused(unit: Unit, error: DriverError) -> Error {
    let advice = "the driver may be older than NVRTC: update it, or put an older libnvrtc first in LD_LIBRARY_PATH";
    Error::Driver { operation: format!("load {}", unit.name()), message: format!("{error:?}; {advice}") }
}
