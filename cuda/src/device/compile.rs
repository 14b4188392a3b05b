//! Compiles units with NVRTC and loads the result on a GPU.

use std::sync::Arc;

use cudarc::driver::{CudaContext, CudaModule, DriverError};
use cudarc::nvrtc::Ptx;

use super::driver::{driver_version, require};
#[cfg(feature = "stand-in")]
use super::emulator::EmulatedKernels;
use super::memory::driver;
use super::nvrtc;
use crate::cache;
use crate::error::{Error, Result};
use crate::libraries::Library;
use crate::notice;
use crate::unit::{Precision, Storage, Unit};

/// A compiled kernel file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompiledKernels {
    /// Name of the file, such as `gelu.cu`.
    pub file: &'static str,
    /// Precision that the file was compiled for.
    pub precision: Precision,
    /// Machine code (a cubin) for a GPU to load, or `None` if NVRTC does not know GPUs of this compute capability.
    pub cubin: Option<Vec<u8>>,
    /// PTX, which a driver compiles itself if it cannot load the machine code. It ends with the messages of NVRTC and
    /// its assembler, as comments that start with [`CompiledKernels::SAID`].
    pub ptx: String,
}

impl CompiledKernels {
    /// The start of each line of compiler messages, which hold warnings and the registers and memory of each kernel.
    pub const SAID: &str = "// NVRTC: ";
}

/// Compiles every kernel for GPUs of one compute capability, such as (9, 0) for Hopper, exactly as training on such a
/// GPU does. This fills the cache, for example in a container image. It needs NVRTC but neither a GPU nor a driver.
///
/// # Errors
/// Returns [`Error::NoCuda`] if NVRTC is missing and [`Error::Compile`] with its log if it rejects a kernel.
///
/// ```no_run
/// for kernels in flowrl_cuda::compile_kernels((9, 0))? {
///     let bytes = kernels.cubin.map_or(0, |cubin| cubin.len());
///     println!("{} {:?}: {bytes} bytes of machine code", kernels.file, kernels.precision);
/// }
/// # Ok::<(), flowrl_cuda::Error>(())
/// ```
pub fn compile_kernels(capability: (i32, i32)) -> Result<Vec<CompiledKernels>> {
    require(Library::Nvrtc)?;
    let compile = |unit: Unit| {
        let precision = if unit.storage == Storage::Bf16 { Precision::Bf16 } else { Precision::F32 };
        image(unit, capability).map(|Image { cubin, ptx }| CompiledKernels { file: unit.file, precision, cubin, ptx })
    };
    Unit::all().map(compile).collect()
}

/// Maps a loaded module back to its source: returns the same kernels for the emulator, and the PTX of the machine code.
/// Returns `None` if `loaded`, which is machine code or PTX, matches no kernel file for this compute capability. The
/// stand-in for NVIDIA's driver uses this function.
///
/// # Errors
/// Returns the errors of [`compile_kernels`], and [`Error::NoCompiler`] if there is no C++ compiler.
#[cfg(feature = "stand-in")]
pub fn emulated_kernels(loaded: &[u8], capability: (i32, i32)) -> Result<Option<(EmulatedKernels, String)>> {
    require(Library::Nvrtc)?;
    // Machine code has a section for each kernel, and PTX has an entry.
    let text = String::from_utf8_lossy(loaded);
    let has = |name: &String| text.contains(&format!(".text.{name}\0")) || text.contains(&format!(".entry {name}("));
    // Kernel names determine the file but not its storage type, so no other file needs compiling.
    for unit in Unit::all_and_of_tests().filter(|unit| unit.kernels().iter().all(has)) {
        let Image { cubin, ptx } = image(unit, capability)?;
        if ptx.as_bytes() == loaded || cubin.as_deref() == Some(loaded) {
            return Ok(Some((EmulatedKernels::load(unit, &crate::EmulatorOptions::default())?, ptx)));
        }
    }
    Ok(None)
}

/// The output of NVRTC for a unit: PTX, and machine code if NVRTC knows the GPU.
struct Image {
    cubin: Option<Vec<u8>>,
    ptx: String,
}

impl Image {
    /// Serialises the image for the cache. PTX is text, so the first NUL ends it.
    fn to_bytes(&self) -> Vec<u8> {
        [self.ptx.as_bytes(), &[0], self.cubin.as_deref().unwrap_or_default()].concat()
    }

    fn from_bytes(bytes: Vec<u8>) -> Self {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let cubin = bytes.get(end + 1..).filter(|cubin| !cubin.is_empty()).map(<[u8]>::to_vec);
        Self { cubin, ptx: String::from_utf8_lossy(&bytes[..end]).into_owned() }
    }
}

/// The cache subfolder for compiled units.
pub(crate) const FOLDER: &str = "kernels";

/// Compiles a unit or reads it from the cache. The caller has checked that NVRTC is present.
fn image(unit: Unit, capability: (i32, i32)) -> Result<Image> {
    let options = options(unit, Target::of(capability, &nvrtc::architectures()));
    let source = unit.source();
    let (major, minor) = nvrtc::nvrtc_version();
    let compile = || {
        let compiled = nvrtc::compile(unit.file, &source, &options);
        let (ptx, cubin, log) = compiled.map_err(|log| Error::Compile { kernel: unit.name(), log })?;
        Ok(Image { cubin, ptx: with_log(ptx, &log) })
    };
    match cache::private(FOLDER) {
        Ok(folder) => {
            let key = cache::key(&[&source, &options.join(" "), &format!("NVRTC {major}.{minor}")]);
            let bytes = cache::bytes(&folder.join(key), || compile().map(|image| image.to_bytes()));
            bytes.map(Image::from_bytes)
        }
        Err(why) => {
            notice::say(
                "cache",
                &format!("compiled kernels cannot be cached, so every process compiles its own: {why}"),
            );
            compile()
        }
    }
}

/// Appends the log to the PTX as ASCII comments, because drivers reject other characters even in comments.
fn with_log(ptx: String, log: &str) -> String {
    let log = log.replace(|c: char| !c.is_ascii(), "?");
    log.lines().filter(|line| !line.trim().is_empty()).fold(ptx, |text, line| {
        let end = if text.ends_with('\n') { "" } else { "\n" };
        format!("{text}{end}{}{line}\n", CompiledKernels::SAID)
    })
}

/// NVRTC's target architecture, where 90 stands for compute capability 9.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Machine code for GPUs of this architecture. The driver needs no compiler for it, so a driver of an older minor
    /// version can load it too.
    Machine(i32),
    /// PTX alone, for an architecture older than the device. It runs on every newer one.
    Text(i32),
}

impl Target {
    /// Returns the target for a device of this compute capability, given the architectures NVRTC knows.
    fn of((major, minor): (i32, i32), known: &[i32]) -> Self {
        let device = 10 * major + minor;
        if known.contains(&device) {
            return Self::Machine(device);
        }
        Self::Text(known.iter().copied().filter(|known| *known <= device).max().unwrap_or(device))
    }
}

/// Returns NVRTC's command line. Multiplications and additions are fused only for bf16, whose rounding error is much
/// larger than that of fusing.
fn options(unit: Unit, target: Target) -> Vec<String> {
    let mut options = vec![
        format!("--fmad={}", unit.storage == Storage::Bf16),
        "--std=c++17".to_owned(),
        // Nothing else marks a lambda with `auto` parameters as device code.
        "--device-as-default-execution-space".to_owned(),
        "--extra-device-vectorization".to_owned(),
    ];
    match target {
        // The assembler reports each kernel's registers, which `cargo xtask kernels` checks.
        Target::Machine(architecture) => {
            options.extend([format!("--gpu-architecture=sm_{architecture}"), "--ptxas-options=-v".to_owned()])
        }
        Target::Text(architecture) => options.push(format!("--gpu-architecture=compute_{architecture}")),
    }
    options
}

/// Loads a unit on a GPU, from machine code or, if the driver rejects that, from PTX.
pub(super) fn load(unit: Unit, context: &Arc<CudaContext>) -> Result<Arc<CudaModule>> {
    let capability = context.compute_capability().map_err(driver("ask the device for its architecture"))?;
    let Image { cubin, ptx } = image(unit, capability)?;
    let loaded = cubin.map(|cubin| context.load_module(Ptx::from_binary(cubin)));
    match loaded {
        Some(Ok(module)) => return Ok(module),
        Some(Err(error)) => notice::say(
            "machine code",
            &format!(
                "the driver refuses NVRTC's machine code ({error:?}) and compiles the kernels itself, from their PTX"
            ),
        ),
        None => notice::say(
            "machine code",
            "this NVRTC does not know the GPU, so the driver compiles the kernels itself, from PTX for older GPUs; a newer \
             NVRTC makes faster kernels",
        ),
    }
    context.load_module(Ptx::from_src(ptx)).map_err(|error| refused(unit, error))
}

/// Returns the error for PTX that the driver rejects, usually because the driver is older than NVRTC.
fn refused(unit: Unit, error: DriverError) -> Error {
    let (major, minor) = nvrtc::nvrtc_version();
    let advice = match driver_version() {
        Some(driver) if driver < (major, minor) => newer_than_driver((major, minor), driver),
        _ => "`flowrl-cli doctor` shows the driver and the libraries".to_owned(),
    };
    Error::driver(format!("load {}", unit.name()), format!("{error:?}; {advice}"))
}

/// Returns advice for an NVRTC that is newer than the driver and may produce code the driver rejects.
pub(crate) fn newer_than_driver((major, minor): (i32, i32), driver: (i32, i32)) -> String {
    let (driver_major, driver_minor) = driver;
    let suffix = if driver_major < 13 { format!("-cu{driver_major}") } else { String::new() };
    format!(
        "NVRTC is from CUDA {major}.{minor}, but the driver is for CUDA {driver_major}.{driver_minor} and may reject NVRTC's \
         output: update the driver, or `pip install 'nvidia-cuda-nvrtc{suffix}=={driver_major}.{driver_minor}.*'`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_newer_than_the_compiler_gets_what_it_runs() {
        let known = [75, 80, 86, 90];
        assert_eq!(Target::of((9, 0), &known), Target::Machine(90));
        assert_eq!(Target::of((8, 9), &known), Target::Text(86));
        assert_eq!(Target::of((10, 0), &known), Target::Text(90));
        assert_eq!(Target::of((12, 1), &[]), Target::Text(121));
    }

    #[test]
    fn the_log_ends_the_text() {
        assert_eq!(with_log("ptx\n".to_owned(), "\n"), "ptx\n");
        assert_eq!(with_log("ptx".to_owned(), "a\n\nb ≤ c\n"), "ptx\n// NVRTC: a\n// NVRTC: b ? c\n");
    }

    #[test]
    fn an_image_is_kept_whole() {
        for cubin in [None, Some(vec![0x7f, b'E', 0, 7, 0])] {
            let image = Image::from_bytes(Image { cubin: cubin.clone(), ptx: "ptx\n".to_owned() }.to_bytes());
            assert_eq!((image.cubin, image.ptx.as_str()), (cubin, "ptx\n"));
        }
    }
}
