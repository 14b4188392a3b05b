//! The emulator, which compiles kernels with the system's C++ compiler and runs them on the CPU.

use std::path::{Path, PathBuf};
use std::process::Command;

use flowrl_lm::fs::sibling;

use crate::cache;
use crate::error::{Error, Result};
use crate::unit::{Unit, files};

files! { FILES in "../emulator/":
    "block.hpp", "fiber.hpp", "interface.hpp", "intrinsics.hpp", "order.hpp", "report.hpp", "runtime.cpp", "shared.hpp",
    "shim.hpp", "warp.hpp",
}

/// The order in which the emulator runs the threads of a block and the blocks of a grid. A kernel with a result that
/// depends on this order has a race.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Schedule {
    /// Ascending order.
    #[default]
    Forward,
    /// Descending order.
    Reverse,
    /// A new permutation after every barrier, derived from this seed.
    Random(u64),
}

/// Options of the emulator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EmulatorOptions {
    /// Order of threads and blocks.
    pub schedule: Schedule,
    /// Number of host threads that run blocks in parallel, or 0 for one per processor.
    pub threads: usize,
    /// Extra compiler flags, such as `-fsanitize=address`.
    pub flags: Vec<String>,
}

/// Options passed to the `emulated_…` entry points of compiled kernels. The layout matches `EmulatorOptions` in the
/// shim.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawOptions {
    pub(crate) schedule: u32,
    pub(crate) threads: u32,
    pub(crate) seed: u64,
}

impl EmulatorOptions {
    pub(crate) fn raw(&self) -> RawOptions {
        let (schedule, seed) = match self.schedule {
            Schedule::Forward => (0, 0),
            Schedule::Reverse => (1, 0),
            Schedule::Random(seed) => (2, seed),
        };
        let all = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let threads = if self.threads == 0 { all() } else { self.threads };
        RawOptions { schedule, threads: threads as u32, seed }
    }
}

/// Compiles a unit or finds it in the cache. Returns the path of the shared library.
pub(crate) fn compile(unit: Unit, options: &EmulatorOptions) -> Result<PathBuf> {
    let runtime = build("the emulator", "#include \"runtime.cpp\"\n", &["-pthread"], options)?;
    let entries: String = unit.kernels().iter().map(|name| format!("EMULATED_KERNEL({name})\n")).collect();
    let text = format!("#define EMULATED 1\n#include \"shim.hpp\"\n{}\n{entries}", unit.source());
    build(&unit.name(), &text, &[path_str(&runtime)?], options)
}

/// Returns the command of the system's C++ compiler.
pub(crate) fn compiler() -> String {
    std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned())
}

/// Compiles C++ text to a shared library in the cache.
fn build(name: &str, text: &str, extra: &[&str], options: &EmulatorOptions) -> Result<PathBuf> {
    const FLAGS: [&str; 7] =
        ["-std=c++17", "-O2", "-g1", "-fPIC", "-shared", "-ffp-contract=off", "-fno-strict-aliasing"];
    let compiler = compiler();
    let added = options.flags.join(" ");
    let nowhere = |why: String| Error::driver("find a place for compiled kernels", why);
    let folder = cache::private("emulator").map_err(nowhere)?;
    let emulator: Vec<&str> = FILES.iter().flat_map(|(name, text)| [*name, *text]).collect();
    let emulator = cache::key(&emulator);
    // The key omits `extra`, because the runtime's path follows from its text.
    let key = cache::key(&[&emulator, text, &compiler, &added, &FLAGS.concat()]);
    let library = folder.join(format!("{key}{}", std::env::consts::DLL_SUFFIX));
    if cache::open(&library).is_some() {
        return Ok(library);
    }
    let unwritable = |error: std::io::Error| {
        let message = format!("{error}; set FLOWRL_CACHE_DIR to a writable folder");
        Error::driver(format!("write compiled kernels to {}", folder.display()), message)
    };
    // The folder name is derived from the files' text, so different versions do not collide.
    let headers = folder.join(emulator);
    for (name, text) in FILES {
        let path = headers.join(name);
        if cache::open(&path).is_none() {
            cache::store(&path, text.as_bytes()).map_err(unwritable)?;
        }
    }
    let source = folder.join(format!("{key}.cpp"));
    cache::store(&source, text.as_bytes()).map_err(unwritable)?;
    let output = sibling(&library, "tmp");
    let mut command = Command::new(&compiler);
    command.args(FLAGS).args(&options.flags).arg("-I").arg(&headers).arg(&source).args(extra).arg("-o").arg(&output);
    // A preloaded sanitizer runtime is meant for this process and would slow the compiler down.
    command.env_remove("LD_PRELOAD");
    let result = command
        .output()
        .map_err(|error| Error::NoCompiler { command: compiler.clone(), message: error.to_string() })?;
    if !result.status.success() {
        let log = String::from_utf8_lossy(&result.stderr).into_owned();
        return Err(Error::Compile { kernel: name.to_owned(), log });
    }
    cache::make_private(&output).and_then(|()| std::fs::rename(&output, &library)).map_err(unwritable)?;
    Ok(library)
}

fn path_str(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| {
        let message = format!("{} is not UTF-8; set FLOWRL_CACHE_DIR to a folder whose name is", path.display());
        Error::driver("find the cache of compiled kernels", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit;

    #[test]
    fn every_file_of_the_folders_is_listed() {
        for (folder, end, files) in [("kernels", ".cu", unit::FILES), ("emulator", "", FILES)] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
            let names =
                std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<String> = names.filter(|name| name.ends_with(end)).collect();
            let mut listed: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
            names.sort_unstable();
            listed.sort_unstable();
            assert_eq!(names, listed);
        }
    }
}
