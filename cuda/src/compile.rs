//! From a unit's text to what a GPU loads, by NVRTC.

use std::sync::Arc;

use cudarc::driver::{CudaContext, DriverError};
use cudarc::nvrtc::Ptx;

use crate::backend::Precision;
use crate::cache;
use crate::error::Error;
use crate::launch;
use crate::libraries::Library;
use crate::unit::{Storage, Unit};

/// A kernel file as PTX, the assembler of NVIDIA's GPUs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledKernels {
    /// The file, such as `gelu.cu`.
    pub file: &'static str,
    /// The precision it was compiled for.
    pub precision: Precision,
    /// Its PTX. What NVRTC warned of stands at the end, in comments that start with [`CompiledKernels::WARNING`].
    pub ptx: String,
}

impl CompiledKernels {
    /// The start of a line of NVRTC's warnings.
    pub const WARNING: &str = "// NVRTC: ";
}

/// Every kernel for GPUs of one compute capability, such as (9, 0) for Hopper, as training on such a GPU compiles it. This fills
/// the cache, for example in an image of a container. It needs NVRTC, and neither a GPU nor a driver.
///
/// # Errors
/// [`Error::NoCuda`] where NVRTC is missing, [`Error::Compile`] with what it said where it refuses a kernel.
///
/// ```no_run
/// for kernels in flowrl_cuda::compile_kernels((9, 0))? {
///     println!("{} {:?}: {} bytes of PTX", kernels.file, kernels.precision, kernels.ptx.len());
/// }
/// # Ok::<(), flowrl_cuda::Error>(())
/// ```
pub fn compile_kernels(capability: (i32, i32)) -> Result<Vec<CompiledKernels>, Error> {
    Library::Nvrtc.require()?;
    let compile = |unit: Unit| {
        let precision = if unit.storage == Storage::Bf16 { Precision::Bf16 } else { Precision::F32 };
        ptx(unit, capability).map(|ptx| CompiledKernels { file: unit.file, precision, ptx })
    };
    Unit::all().map(compile).collect()
}

/// The shared library in which the emulator has the kernels of this PTX, compiled for GPUs of such a compute capability; `None` where it
/// is of no kernel file. For the stand-in of NVIDIA's driver.
///
/// # Errors
/// Those of [`compile_kernels`], and [`Error::NoCompiler`] where there is no C++ compiler.
#[cfg(feature = "stand-in")]
pub fn emulated_library(image: &str, capability: (i32, i32)) -> Result<Option<std::path::PathBuf>, Error> {
    Library::Nvrtc.require()?;
    // Names tell the file, all but its storage: no other file has to be compiled.
    let may_be = |unit: &Unit| unit.kernels().iter().all(|name| image.contains(&format!(".entry {name}(")));
    for unit in Unit::all_and_of_tests().filter(may_be) {
        if ptx(unit, capability)? == image {
            return crate::emulated::compile(unit, &crate::EmulatorOptions::default()).map(Some);
        }
    }
    Ok(None)
}

/// A unit compiled for the architecture of this context's device.
pub(crate) fn for_gpu(unit: Unit, context: &Arc<CudaContext>) -> Result<Ptx, Error> {
    let capability = context.compute_capability().map_err(|error| Error::Driver {
        operation: "ask the device for its architecture".to_owned(),
        message: format!("{error:?}"),
    })?;
    ptx(unit, capability).map(Ptx::from_src)
}

/// A unit as PTX, from the cache where it is there. NVRTC was found before.
fn ptx(unit: Unit, capability: (i32, i32)) -> Result<String, Error> {
    let options = options(unit, architecture(capability, &launch::nvrtc_architectures()));
    let source = unit.source();
    let (major, minor) = launch::nvrtc_version();
    let key = cache::key(&[&source, &options.join(" "), &format!("NVRTC {major}.{minor}")]);
    cache::text(&cache::folder().join("ptx").join(format!("{key}.ptx")), || {
        let (ptx, log) =
            launch::nvrtc(unit.file, &source, &options).map_err(|log| Error::Compile { kernel: unit.name(), log })?;
        Ok(with_warnings(ptx, &log))
    })
}

/// With the warnings as comments, in ASCII: drivers refuse other characters even there.
fn with_warnings(ptx: String, log: &str) -> String {
    let log = log.replace(|c: char| !c.is_ascii(), "?");
    log.lines().filter(|line| !line.trim().is_empty()).fold(ptx, |text, line| {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}{}{line}\n", CompiledKernels::WARNING)
    })
}

/// The newest architecture that NVRTC knows and the device runs: PTX of an older one runs on every newer device.
fn architecture((major, minor): (i32, i32), known: &[i32]) -> i32 {
    let device = 10 * major + minor;
    known.iter().copied().filter(|known| *known <= device).max().unwrap_or(device)
}

/// NVRTC's command line. Products and sums are contracted only where bf16 rounds much more than that.
fn options(unit: Unit, architecture: i32) -> Vec<String> {
    vec![
        format!("--gpu-architecture=compute_{architecture}"),
        format!("--fmad={}", unit.storage == Storage::Bf16),
        "--std=c++17".to_owned(),
        // A lambda whose parameters are `auto` says nowhere else that it is of the device.
        "--device-as-default-execution-space".to_owned(),
        "--extra-device-vectorization".to_owned(),
    ]
}

/// The driver refused what NVRTC made: mostly a driver older than NVRTC.
pub(crate) fn refused(unit: Unit, error: DriverError) -> Error {
    let (major, minor) = launch::nvrtc_version();
    let advice = match launch::driver_version() {
        Some(driver) if driver < (major, minor) => newer_than_driver((major, minor), driver),
        _ => "`flowrl-cli doctor` shows driver and libraries".to_owned(),
    };
    Error::Driver { operation: format!("load {}", unit.name()), message: format!("{error:?}; {advice}") }
}

/// What to do where NVRTC may make PTX that the driver does not know.
pub(crate) fn newer_than_driver((major, minor): (i32, i32), driver: (i32, i32)) -> String {
    let (driver_major, driver_minor) = driver;
    let suffix = if driver_major < 13 { format!("-cu{driver_major}") } else { String::new() };
    format!(
        "NVRTC is of CUDA {major}.{minor}, the driver of CUDA {driver_major}.{driver_minor}, which may refuse its PTX: update the \
         driver, or `pip install 'nvidia-cuda-nvrtc{suffix}=={driver_major}.{driver_minor}.*'`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_newer_than_the_compiler_gets_what_it_runs() {
        let known = [75, 80, 86, 90];
        assert_eq!(architecture((9, 0), &known), 90);
        assert_eq!(architecture((8, 9), &known), 86);
        assert_eq!(architecture((10, 0), &known), 90);
        assert_eq!(architecture((12, 1), &[]), 121);
    }

    #[test]
    fn warnings_end_the_text() {
        assert_eq!(with_warnings("ptx\n".to_owned(), "\n"), "ptx\n");
        assert_eq!(with_warnings("ptx".to_owned(), "a\n\nb ≤ c\n"), "ptx\n// NVRTC: a\n// NVRTC: b ? c\n");
    }
}
