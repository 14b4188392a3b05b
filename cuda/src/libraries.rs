//! Where CUDA's libraries are on this machine, and where to get those that are missing.
//!
//! The loader's own path comes first. What it lacks is looked for where toolkits and Python wheels put it, and loaded by its full
//! path: from then on the name alone finds it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::launch;

/// A library that training on a GPU needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// The driver.
    Driver,
    /// The compiler of kernels.
    Nvrtc,
    /// Matrix products.
    CublasLt,
}

/// Majors of CUDA whose libraries the bindings find by name, newest first.
const MAJORS: [i32; 2] = [13, 12];

impl Library {
    pub(crate) const ALL: [Self; 3] = [Self::Driver, Self::Nvrtc, Self::CublasLt];

    /// The start of its file's name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Driver => "libcuda",
            Self::Nvrtc => "libnvrtc",
            Self::CublasLt => "libcublasLt",
        }
    }

    /// What the loader may know it as: of the names that the bindings try, those that NVIDIA gives.
    pub(crate) fn names(self) -> Vec<String> {
        let name = self.name();
        if cfg!(windows) {
            let name = name.trim_start_matches("lib");
            return match self {
                Self::Driver => vec!["nvcuda.dll".to_owned()],
                Self::Nvrtc => vec![format!("{name}64_130_0.dll")],
                Self::CublasLt => MAJORS.iter().map(|major| format!("{name}64_{major}.dll")).collect(),
            };
        }
        let versions = if self == Self::Driver { &[1][..] } else { &MAJORS };
        let versioned = versions.iter().map(|version| format!("{name}.so.{version}"));
        [format!("{name}.so")].into_iter().chain(versioned).collect()
    }

    /// An error unless it is there, wherever it was found.
    pub(crate) fn require(self) -> Result<(), Error> {
        if launch::load(self) {
            return Ok(());
        }
        Err(Error::NoCuda { library: self.name(), advice: self.advice() })
    }

    /// Files that may be it, the best first.
    pub(crate) fn candidates(self) -> Vec<PathBuf> {
        match self {
            // The Windows subsystem for Linux keeps it outside of the loader's path.
            Self::Driver => vec![PathBuf::from("/usr/lib/wsl/lib/libcuda.so.1")],
            _ => files(self.name(), &folders(), launch::driver_version().map(|(major, _)| major)),
        }
    }

    /// What to do where it is missing.
    pub(crate) fn advice(self) -> String {
        // A kernel module without its library is what a container sees that was started without GPUs.
        let in_container = Path::new("/proc/driver/nvidia/version").exists();
        let wheel = |name: &str| {
            let version = launch::driver_version();
            let (major, minor) = version.unwrap_or((12, 0));
            let suffix = if major < 13 { format!("-cu{major}") } else { String::new() };
            // The compiler must not be newer than the driver; of products, any minor version runs.
            let pin = match (self, version) {
                (Self::Nvrtc, Some(_)) => format!("=={major}.{minor}.*"),
                (_, Some(_)) if major >= 13 => format!("=={major}.*"),
                _ => String::new(),
            };
            format!(
                "`pip install '{name}{suffix}{pin}'` or the CUDA toolkit brings it; it is looked for in LD_LIBRARY_PATH, CUDA_HOME, \
                 CUDA_PATH, VIRTUAL_ENV, CONDA_PREFIX, /usr/local/cuda* and the packages of python3"
            )
        };
        match self {
            Self::Driver if in_container => {
                "the kernel's part of the driver is there: start the container with its GPUs (`docker run --gpus all`)"
                    .to_owned()
            }
            Self::Driver => "install NVIDIA's driver, of CUDA 12 or newer".to_owned(),
            Self::Nvrtc => wheel("nvidia-cuda-nvrtc"),
            Self::CublasLt => wheel("nvidia-cublas"),
        }
    }

    /// The file that this process has loaded, where the system tells (Linux).
    pub(crate) fn loaded_from(self) -> Option<PathBuf> {
        let start = format!("{}.so", self.name());
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
        paths.find(|path| file_name(path).starts_with(&start)).map(Path::to_owned)
    }
}

/// Files of this library in the folders, in their order; within a folder the newest major that is no newer than the driver's.
fn files(name: &str, folders: &[PathBuf], driver: Option<i32>) -> Vec<PathBuf> {
    let fits = |major: &i32| driver.is_none_or(|driver| *major <= driver);
    let paths = folders
        .iter()
        .flat_map(|folder| MAJORS.into_iter().filter(fits).map(move |major| folder.join(format!("{name}.so.{major}"))));
    paths.filter(|path| path.is_file()).collect()
}

/// Where toolkits and wheels put libraries: what the environment names, then the usual places.
fn folders() -> Vec<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let mut found = Vec::new();
    ["CUDA_HOME", "CUDA_PATH"].into_iter().filter_map(set).for_each(|root| toolkit(&root, &mut found));
    for root in ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(set) {
        found.push(root.join("lib"));
        wheels(&root, &mut found);
    }
    toolkit(Path::new("/usr/local/cuda"), &mut found);
    let mut versions = list(Path::new("/usr/local"), "cuda-");
    versions.sort_by_key(|path| std::cmp::Reverse(version(path)));
    versions.iter().for_each(|root| toolkit(root, &mut found));
    // The Python that `python3` starts: in a virtual environment as it is called, elsewhere where it really is.
    let python = set("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.is_file())
    });
    if let Some(python) = python {
        let real = python.canonicalize().unwrap_or_else(|_| python.clone());
        [python, real].iter().filter_map(|python| python.parent()?.parent()).for_each(|root| wheels(root, &mut found));
    }
    if let Some(home) = set("HOME") {
        wheels(&home.join(".local"), &mut found);
    }
    wheels(Path::new("/usr/local"), &mut found);
    found
}

/// The folders of a toolkit. Not its `stubs`, which are no libraries.
fn toolkit(root: &Path, found: &mut Vec<PathBuf>) {
    let target = format!("targets/{}-linux/lib", std::env::consts::ARCH);
    found.extend(["lib64", "lib", &target].map(|folder| root.join(folder)));
}

/// The folders of NVIDIA's wheels below a Python's root: `lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib`.
fn wheels(root: &Path, found: &mut Vec<PathBuf>) {
    for python in list(&root.join("lib"), "python3") {
        for packages in ["site-packages", "dist-packages"] {
            let mut wheels = list(&python.join(packages).join("nvidia"), "");
            // The order of a folder's entries is the file system's.
            wheels.sort_by(|a, b| b.cmp(a));
            found.extend(wheels.iter().map(|wheel| wheel.join("lib")));
        }
    }
}

/// What a folder holds whose name starts so; nothing where there is no folder.
fn list(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| file_name(path).starts_with(start)).collect()
}

/// (12, 9) of `cuda-12.9`.
fn version(path: &Path) -> (u32, u32) {
    let name = file_name(path);
    let mut numbers = name.trim_start_matches("cuda-").split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(OsStr::to_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn touch(path: &Path) -> PathBuf {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
        path.to_owned()
    }

    #[test]
    fn wheels_and_toolkits_are_found() {
        let root = tempfile::tempdir().unwrap();
        let packages = root.path().join("venv/lib/python3.12/site-packages/nvidia");
        let nvrtc = touch(&packages.join("cuda_nvrtc/lib/libnvrtc.so.12"));
        let both = touch(&packages.join("cu13/lib/libnvrtc.so.13"));
        let system = touch(&root.path().join("cuda/lib64/libnvrtc.so.12"));
        touch(&root.path().join("cuda/lib64/stubs/libnvrtc.so.13"));
        let mut folders = Vec::new();
        wheels(&root.path().join("venv"), &mut folders);
        toolkit(&root.path().join("cuda"), &mut folders);
        assert_eq!(files("libnvrtc", &folders, None), [nvrtc.clone(), both.clone(), system.clone()]);
        assert_eq!(files("libnvrtc", &folders, Some(13)), [nvrtc.clone(), both, system.clone()]);
        // A driver of CUDA 12 runs nothing of CUDA 13.
        assert_eq!(files("libnvrtc", &folders, Some(12)), [nvrtc, system]);
        assert!(files("libcublasLt", &folders, None).is_empty());
    }

    #[test]
    fn of_one_folder_the_newest_that_the_driver_runs() {
        let root = tempfile::tempdir().unwrap();
        let [old, new] = [12, 13].map(|major| touch(&root.path().join(format!("libcublasLt.so.{major}"))));
        let folders = [root.path().to_owned()];
        assert_eq!(files("libcublasLt", &folders, None), [new.clone(), old.clone()]);
        assert_eq!(files("libcublasLt", &folders, Some(12)), [old]);
    }

    #[test]
    fn versions_are_numbers() {
        assert!(version(Path::new("/usr/local/cuda-12.10")) > version(Path::new("/usr/local/cuda-12.9")));
        assert_eq!(version(Path::new("/usr/local/cuda-13")), (13, 0));
    }
}
