//! Checks the requirements for training on a GPU and advises on how to get missing ones.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::process::Command;

use cudarc::driver::CudaContext;
use flowrl_core::backend::{Backend, LinearShape, Role};
use flowrl_lm::fs::sibling;
use serde::Serialize;

use crate::backend::CudaBackend;
use crate::cache;
use crate::device::{self, DeviceFacts};
use crate::emulated;
use crate::error::Result;
use crate::libraries::Library;
use crate::notice;
use crate::unit::Precision;

/// The findings of [`doctor`], which serialise to JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of NVIDIA's driver, such as 550.54.15, if the system reports it (Linux).
    pub driver: Option<String>,
    /// Highest version of CUDA that the driver fully supports, such as 12.4.
    pub driver_cuda: Option<String>,
    /// The driver's library, NVRTC and cuBLASLt, in this order.
    pub libraries: Vec<LibraryReport>,
    /// The GPUs, in the order of `--device cuda:N`.
    pub devices: Vec<DeviceReport>,
    /// Command of the C++ compiler for the emulator.
    pub compiler: String,
    /// First line of the compiler's version, or `None` if the compiler does not start.
    pub compiler_version: Option<String>,
    /// Folder of compiled kernels, or `none`.
    pub cache: String,
    /// Why the folder cannot be used, if so. Every process then compiles its own kernels.
    pub cache_problem: Option<String>,
    /// Problems that prevent training on a GPU, or may, each with a remedy.
    pub problems: Vec<String>,
}

/// A CUDA library.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LibraryReport {
    /// Start of the library's file name.
    pub name: &'static str,
    /// Whether the library can be loaded.
    pub found: bool,
    /// File of the library, if the system reports it (Linux).
    pub path: Option<String>,
    /// Version of the library, if it reports one.
    pub version: Option<String>,
}

impl LibraryReport {
    /// Returns the library's version and file, as far as they are known, or `not found`.
    fn place(&self) -> String {
        let place = if self.found { self.path.as_deref().unwrap_or("found") } else { "not found" };
        self.version.iter().map(String::as_str).chain([place]).collect::<Vec<_>>().join(", ")
    }
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeviceReport {
    /// Name of the GPU, as the driver reports it.
    pub name: String,
    /// Compute capability, such as 9.0.
    pub capability: String,
    /// Total memory in bytes.
    pub memory_total: usize,
    /// Free memory in bytes, or `None` if the device could not be opened.
    pub memory_free: Option<usize>,
    /// Why a trial kernel and trial matrix products failed on this GPU, or `None` if all gave the right numbers.
    pub problem: Option<String>,
    /// Notices about operations that worked only by a fallback.
    pub notes: Vec<String>,
}

impl Report {
    /// Returns whether at least one GPU ran a kernel and matrix products correctly.
    pub fn can_train(&self) -> bool {
        self.devices.iter().any(|device| device.problem.is_none())
    }
}

/// Looks for the driver, the libraries and the GPUs, and tries a kernel and matrix products on each GPU.
///
/// ```
/// let report = flowrl_cuda::doctor();
/// println!("{report}");
/// assert!(report.can_train() || !report.problems.is_empty());
/// ```
pub fn doctor() -> Report {
    let mut problems = Vec::new();
    let libraries: Vec<LibraryReport> = Library::ALL.map(|library| library_report(library, &mut problems)).into();
    let driver_cuda = device::driver_version();
    let devices = match libraries[0].found.then(device::devices) {
        None => Vec::new(),
        Some(Ok(devices)) => devices.into_iter().enumerate().map(|(i, facts)| device_report(i, facts)).collect(),
        Some(Err(error)) => {
            problems.push(error.to_string());
            Vec::new()
        }
    };
    if libraries[0].found && devices.is_empty() {
        problems.push(
            "the driver reports no GPU; CUDA_VISIBLE_DEVICES, if set, hides the GPUs it does not list".to_owned(),
        );
    }
    for (i, device) in devices.iter().enumerate() {
        problems.extend(device.problem.iter().chain(&device.notes).map(|text| format!("GPU {i}: {text}")));
    }
    // Machine code of a newer minor version usually loads, so a GPU that computes is proof.
    let runs = devices.iter().any(|device| device.problem.is_none());
    if let Some(driver) = driver_cuda.filter(|_| libraries[1].found && !runs) {
        let nvrtc = device::nvrtc_version();
        problems.extend((driver < nvrtc).then(|| device::newer_than_driver(nvrtc, driver)));
    }
    let compiler = emulated::compiler();
    let (cache, cache_problem) = match cache::folder() {
        Ok(folder) => (folder.display().to_string(), unwritable(&folder)),
        Err(why) => ("none".to_owned(), Some(why)),
    };
    Report {
        driver: driver_version(),
        driver_cuda: driver_cuda.map(dotted),
        libraries,
        devices,
        compiler_version: first_line(Command::new(&compiler).arg("--version")),
        compiler,
        cache_problem,
        cache,
        problems,
    }
}

/// Returns the name of the GPU with this number and the versions of the driver and libraries, keyed by name. It omits
/// anything that does not report itself.
///
/// ```
/// for (name, what) in flowrl_cuda::software(0) {
///     println!("{name}: {what}");
/// }
/// ```
pub fn software(number: usize) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    let mut put = |name: &str, what: Option<String>| _ = what.map(|what| all.insert(name.to_owned(), what));
    let libraries = Library::ALL.map(|library| library_report(library, &mut Vec::new()));
    let devices = if libraries[0].found { device::devices().unwrap_or_default() } else { Vec::new() };
    put("gpu", devices.get(number).map(|gpu| format!("{}, compute capability {}", gpu.name, dotted(gpu.capability))));
    put("driver", driver_version());
    put("driver_cuda", device::driver_version().map(dotted));
    for library in libraries.iter().filter(|library| library.found) {
        put(library.name, Some(library.place()));
    }
    all
}

/// Returns the version of NVIDIA's driver, if the system reports it (Linux).
fn driver_version() -> Option<String> {
    driver_of(&std::fs::read_to_string("/proc/driver/nvidia/version").unwrap_or_default())
}

fn dotted((major, minor): (i32, i32)) -> String {
    format!("{major}.{minor}")
}

fn library_report(library: Library, problems: &mut Vec<String>) -> LibraryReport {
    let found = device::load(library);
    let path = library.loaded_from().filter(|_| found);
    if !found {
        problems.push(format!("{} was not found; {}", library.name(), library.advice(device::driver_version())));
    }
    let version = match library {
        Library::Nvrtc if found => {
            let (major, minor) = device::nvrtc_version();
            // NVRTC loads this library from its own folder when it compiles.
            let folder = path.as_deref().and_then(Path::parent);
            if folder.is_some_and(|folder| !holds(folder, "libnvrtc-builtins.so")) {
                problems.push(format!(
                    "libnvrtc-builtins.so.{major}.{minor}, which belongs next to libnvrtc, is missing; {}",
                    library.advice(device::driver_version())
                ));
            }
            Some(format!("{major}.{minor}"))
        }
        Library::CublasLt if found => {
            let (major, minor, patch) = device::cublaslt_version();
            Some(format!("{major}.{minor}.{patch}"))
        }
        _ => None,
    };
    LibraryReport { name: library.name(), found, path: path.map(|path| path.display().to_string()), version }
}

fn holds(folder: &Path, start: &str) -> bool {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with(start))
}

fn device_report(number: usize, facts: DeviceFacts) -> DeviceReport {
    let (tried, notes) = notice::collect(|| {
        let context = CudaContext::new(number).map_err(|error| format!("it cannot be opened: {error:?}"))?;
        let free = context.mem_get_info().ok().map(|(free, _)| free);
        Ok((free, try_out(number).err()))
    });
    let (memory_free, problem) = tried.unwrap_or_else(|problem| (None, Some(problem)));
    DeviceReport {
        name: facts.name,
        capability: dotted(facts.capability),
        memory_total: facts.total,
        memory_free,
        problem,
        notes,
    }
}

/// Checks that a kernel and matrix products give the right numbers on a GPU. Returns the reason if they do not.
fn try_out(number: usize) -> Result<(), String> {
    let got =
        CudaBackend::new(number, Precision::Bf16).and_then(|gpu| compute(&gpu)).map_err(|error| error.to_string())?;
    let right = got.iter().zip(RESULTS).all(|(got, wanted)| (got - wanted).abs() < 0.01);
    if right { Ok(()) } else { Err(format!("it computes {got:?} instead of {RESULTS:?}")) }
}

/// GELU of 1 and 2, then (1, 2)·(3, 4) + 1.5, then that product without its bias for each of three outputs, added to 1,
/// 2 and 3.
const RESULTS: [f32; 6] = [0.841_344_7, 1.954_499_7, 12.5, 12.0, 13.0, 14.0];

/// Computes a kernel and the products that cuBLASLt is most likely to refuse: one output with a bias, as in the last
/// layer of log Z's network, and bf16 rows of odd length, as for the logits of a small vocabulary.
fn compute(gpu: &CudaBackend) -> Result<[f32; 6]> {
    let (x, w, bias) = (gpu.upload(&[1.0, 2.0])?, gpu.upload(&[3.0, 4.0])?, gpu.upload(&[1.5])?);
    let (mut gelu, mut product) = (gpu.zeros(2)?, gpu.zeros(1)?);
    gpu.gelu(&x, &mut gelu, 2)?;
    gpu.linear(&x, &w, Some(&bias), &mut product, LinearShape { rows: 1, inputs: 2, outputs: 1 }, false)?;
    let stored = |values: &[f32]| {
        let mut buffer = gpu.zeros_for(Role::Activation, values.len())?;
        gpu.write(&mut buffer, 0, values).map(|()| buffer)
    };
    let (x, w, mut odd) = (stored(&[1.0, 2.0])?, stored(&[3.0, 4.0, 3.0, 4.0, 3.0, 4.0])?, stored(&[1.0, 2.0, 3.0])?);
    gpu.linear(&x, &w, None, &mut odd, LinearShape { rows: 1, inputs: 2, outputs: 3 }, true)?;
    let mut out = [0.0; 6];
    gpu.read(&gelu, 0, &mut out[..2])?;
    gpu.read(&product, 0, &mut out[2..3])?;
    gpu.read(&odd, 0, &mut out[3..])?;
    Ok(out)
}

/// Parses the version from the first line of /proc/driver/nvidia/version: the first word of digits and dots.
fn driver_of(text: &str) -> Option<String> {
    let is_version = |word: &&str| word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
    text.lines().next()?.split_whitespace().find(is_version).map(str::to_owned)
}

fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Returns why compiled kernels cannot be stored in this folder, if so.
fn unwritable(folder: &Path) -> Option<String> {
    let kernels = match cache::private_in(folder, device::FOLDER) {
        Ok(kernels) => kernels,
        Err(why) => return Some(why),
    };
    let probe = sibling(&kernels.join("probe"), "tmp");
    let written = cache::store(&probe, b"");
    let _ = std::fs::remove_file(&probe);
    written.err().map(|error| format!("{error}; set FLOWRL_CACHE_DIR to a writable folder"))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let driver = self.driver.as_deref().unwrap_or("of unknown version");
        match &self.driver_cuda {
            Some(cuda) => writeln!(f, "{:<14} {driver}, for CUDA up to {cuda}", "driver")?,
            None => writeln!(f, "{:<14} not found", "driver")?,
        }
        for library in &self.libraries {
            writeln!(f, "{:<14} {}", library.name, library.place())?;
        }
        for (i, device) in self.devices.iter().enumerate() {
            let gib = |bytes: usize| bytes as f64 / (1_u64 << 30) as f64;
            let free = device.memory_free.map(|free| format!("{:.1} of ", gib(free))).unwrap_or_default();
            let works = if device.problem.is_none() { "computes" } else { "does not compute" };
            writeln!(
                f,
                "{:<14} {}, compute capability {}, {free}{:.1} GiB {}, {works}",
                format!("GPU {i}"),
                device.name,
                device.capability,
                gib(device.memory_total),
                if free.is_empty() { "of memory" } else { "free" },
            )?;
        }
        let version = self.compiler_version.as_deref();
        writeln!(
            f,
            "{:<14} {} (for `--device emulated`)",
            "C++ compiler",
            version.unwrap_or("not found; install g++ or clang, or name one in CXX")
        )?;
        writeln!(f, "{:<14} {}", "kernel cache", self.cache)?;
        if let Some(problem) = &self.cache_problem {
            writeln!(f, "{:<14} cannot be used: {problem}", "")?;
        }
        for problem in &self.problems {
            writeln!(f, "- {problem}")?;
        }
        f.write_str(if self.can_train() { "A GPU can train here." } else { "No GPU can train here." })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_version_is_read() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12.2.0";
        assert_eq!(driver_of(closed).as_deref(), Some("550.54.15"));
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build";
        assert_eq!(driver_of(open).as_deref(), Some("570.86.15"));
        assert_eq!(driver_of(""), None);
    }

    #[test]
    fn the_trial_knows_its_results() {
        let emulator = CudaBackend::emulated(crate::EmulatorOptions::default(), Precision::Bf16);
        let got = compute(&emulator).unwrap();
        assert!(got.iter().zip(RESULTS).all(|(got, wanted)| (got - wanted).abs() < 1e-5), "{got:?}");
    }

    #[test]
    fn what_computes_is_what_doctor_finds_on_gpu() {
        let (report, found) = (doctor(), software(0));
        for library in &report.libraries {
            assert_eq!(found.get(library.name), library.found.then(|| library.place()).as_ref());
        }
        assert_eq!(found.get("driver_cuda"), report.driver_cuda.as_ref());
        let name = found.get("gpu").map(|gpu| gpu.split_once(", compute capability ").unwrap());
        assert_eq!(name, report.devices.first().map(|gpu| (gpu.name.as_str(), gpu.capability.as_str())));
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(unwritable(&folder.path().join("new")), None);
        let kernels = folder.path().join("new").join(device::FOLDER);
        assert_eq!(std::fs::read_dir(kernels).unwrap().count(), 0, "the probe is removed");
        std::fs::write(folder.path().join("file"), "").unwrap();
        assert!(unwritable(&folder.path().join("file")).unwrap().contains("FLOWRL_CACHE_DIR"));
    }

    #[test]
    fn one_gpu_that_computes_is_enough() {
        let device = |problem: Option<&str>| DeviceReport {
            name: "GPU".to_owned(),
            capability: "9.0".to_owned(),
            memory_total: 3 << 30,
            memory_free: problem.is_none().then_some(1 << 30),
            problem: problem.map(str::to_owned),
            notes: Vec::new(),
        };
        let mut report = doctor();
        report.devices = vec![device(Some("no"))];
        assert!(!report.can_train());
        report.devices.push(device(None));
        assert!(report.can_train());
        let text = report.to_string();
        for line in ["compute capability 9.0, 3.0 GiB of memory, does not compute", "1.0 of 3.0 GiB free, computes"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
