//! Finds CUDA's libraries on this machine, and advises on how to get missing ones.
//!
//! The loader's own path comes first. A library that the loader does not find is searched for in the folders of
//! toolkits and Python wheels and loaded by its full path. From then on its name alone is enough.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A library that training on a GPU needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Library {
    /// The driver's library.
    Driver,
    /// NVRTC, the compiler of kernels.
    Nvrtc,
    /// cuBLASLt, for matrix products.
    CublasLt,
}

/// Major versions of CUDA for which the bindings find libraries by name, newest first.
const MAJORS: [i32; 2] = [13, 12];

impl Library {
    pub(crate) const ALL: [Self; 3] = [Self::Driver, Self::Nvrtc, Self::CublasLt];

    /// Returns the start of the library's file name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Driver => "libcuda",
            Self::Nvrtc => "libnvrtc",
            Self::CublasLt => "libcublasLt",
        }
    }

    /// Returns the names to ask the loader for: of the names that the bindings try, those that NVIDIA uses.
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

    /// Returns files that may be this library and that a driver for this CUDA version runs, best candidates first.
    pub(crate) fn candidates(self, driver: Option<(i32, i32)>) -> Vec<PathBuf> {
        match self {
            // The Windows Subsystem for Linux keeps the driver outside the loader's path.
            Self::Driver => vec![PathBuf::from("/usr/lib/wsl/lib/libcuda.so.1")],
            _ => files(self.name(), &folders(), driver.map(|(major, _)| major)),
        }
    }

    /// Returns advice on how to get the library if it is missing, for a driver of this CUDA version.
    pub(crate) fn advice(self, driver: Option<(i32, i32)>) -> String {
        // A container started without GPUs sees the kernel module but not the library.
        let in_container = Path::new("/proc/driver/nvidia/version").exists();
        let wheel = |name: &str| {
            let (major, minor) = driver.unwrap_or((12, 0));
            let suffix = if major < 13 { format!("-cu{major}") } else { String::new() };
            // The compiler must not be newer than the driver. For cuBLASLt any minor version runs.
            let pin = match (self, driver) {
                (Self::Nvrtc, Some(_)) => format!("=={major}.{minor}.*"),
                (_, Some(_)) if major >= 13 => format!("=={major}.*"),
                _ => String::new(),
            };
            format!(
                "install it with `pip install '{name}{suffix}{pin}'` or with the CUDA toolkit; the search covers \
                 LD_LIBRARY_PATH, CUDA_HOME, CUDA_PATH, VIRTUAL_ENV, CONDA_PREFIX, /usr/local/cuda* and the packages of python3"
            )
        };
        match self {
            Self::Driver if in_container => {
                "the driver's kernel module is present: start the container with its GPUs (`docker run --gpus all`)"
                    .to_owned()
            }
            Self::Driver => "install NVIDIA's driver for CUDA 12 or newer".to_owned(),
            Self::Nvrtc => wheel("nvidia-cuda-nvrtc"),
            Self::CublasLt => wheel("nvidia-cublas"),
        }
    }

    /// Returns the file that this process has loaded, if the system reports it (Linux).
    pub(crate) fn loaded_from(self) -> Option<PathBuf> {
        let start = format!("{}.so", self.name());
        let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
        let mut paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
        paths.find(|path| file_name(path).starts_with(&start)).map(Path::to_owned)
    }
}

/// Returns the files of this library in the folders, in the order of the folders. Within a folder the newest major
/// version comes first. Versions newer than the driver's are left out.
fn files(name: &str, folders: &[PathBuf], driver: Option<i32>) -> Vec<PathBuf> {
    let fits = |major: &i32| driver.is_none_or(|driver| *major <= driver);
    let paths = folders
        .iter()
        .flat_map(|folder| MAJORS.into_iter().filter(fits).map(move |major| folder.join(format!("{name}.so.{major}"))));
    paths.filter(|path| path.is_file()).collect()
}

/// Returns the folders in which toolkits and wheels put libraries: those named by the environment, then the usual
/// places.
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
    // The Python that `python3` starts: its path as called finds a virtual environment, and its real path any other.
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

/// Adds the library folders of a toolkit. Its `stubs` folder is omitted because it has no real libraries.
fn toolkit(root: &Path, found: &mut Vec<PathBuf>) {
    let target = format!("targets/{}-linux/lib", std::env::consts::ARCH);
    found.extend(["lib64", "lib", &target].map(|folder| root.join(folder)));
}

/// Adds the folders of NVIDIA's wheels under a Python's root, such as
/// `lib/python3.12/site-packages/nvidia/cuda_nvrtc/lib`.
fn wheels(root: &Path, found: &mut Vec<PathBuf>) {
    for python in list(&root.join("lib"), "python3") {
        for packages in ["site-packages", "dist-packages"] {
            let mut wheels = list(&python.join(packages).join("nvidia"), "");
            // Sorted, because the order of directory entries depends on the file system.
            wheels.sort_by(|a, b| b.cmp(a));
            found.extend(wheels.iter().map(|wheel| wheel.join("lib")));
        }
    }
}

/// Returns the entries of a folder with names that begin with `start`, or none if there is no such folder.
fn list(folder: &Path, start: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| file_name(path).starts_with(start)).collect()
}

/// Parses the version from a path: (12, 9) for `cuda-12.9`.
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
        // A driver for CUDA 12 cannot run libraries of CUDA 13.
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
