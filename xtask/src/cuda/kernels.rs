//! `cargo xtask kernels`: NVIDIA's compilers on every kernel, without a GPU.

use super::resources::{Resources, parse};
use crate::command::{cargo, compile, output, program, run as run_command};
use crate::python::{self, NVRTC};
use crate::{Args, Outcome, WORKSPACE};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Ampere, Hopper, Blackwell.
const ARCHITECTURES: [&str; 3] = ["80", "90", "100"];
const PTX: &str = "target/kernels/ptx";
/// What ptxas said, each file named by what it said it of.
const SAID: &str = "target/kernels/ptxas";

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    match check()? {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

/// Compiles every kernel, prints a table, and fails if a kernel is not as it should be. Why nothing was compiled, if so.
pub(crate) fn check() -> Result<Option<String>, String> {
    if !cfg!(target_os = "linux") {
        return Ok(Some("NVIDIA's wheels with these programs are for Linux".to_owned()));
    }
    if python::system().is_none() {
        return Ok(Some("no python3 here, which fetches NVIDIA's compilers".to_owned()));
    }
    let python = match NVRTC.interpreter(None) {
        Ok(python) => python,
        Err(why) => return Ok(Some(format!("NVIDIA's compilers cannot be fetched from here: {why}"))),
    };
    let ptxas = ptxas(&python)?;
    compile_all()?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let paths = sorted(Path::new(PTX))?;
    let logs = in_parallel(&paths, |path| assemble(&ptxas, path));
    for (path, log) in paths.iter().zip(logs) {
        let (stem, ptx) = (stem(path), read(path)?);
        let [file, storage, architecture] = stem.split('.').collect::<Vec<_>>()[..] else {
            return Err(format!("{} is not named FILE.STORAGE.ARCHITECTURE", path.display()));
        };
        let warnings = ptx.lines().filter_map(|line| line.strip_prefix("// NVRTC: "));
        problems.extend(warnings.map(|line| format!("{file}.cu for {storage}, {architecture}: {line}")));
        let log = log?;
        let warnings = log.lines().filter(|line| line.contains("warning"));
        problems.extend(warnings.map(|line| format!("{file}.cu for {storage}, {architecture}: {line}")));
        for resources in parse(&log) {
            let wrong = resources.problems(is_bounded(&ptx, &resources.kernel));
            let kernel = &resources.kernel;
            problems
                .extend(wrong.iter().map(|why| format!("{kernel} ({file}.cu) for {storage}, {architecture}: {why}")));
            rows.push(Row { storage: storage.to_owned(), architecture: architecture.to_owned(), resources });
        }
    }
    print!("{}", table(&rows));
    match problems.len() {
        0 => Ok(None),
        count => Err(format!("{count} problems\n{}", problems.join("\n"))),
    }
}

/// The assembler in the wheel.
fn ptxas(python: &str) -> Result<PathBuf, String> {
    let code = "import nvidia.cuda_nvcc as wheel; print(list(wheel.__path__)[0])";
    let folder = output(program(python, &["-c", code])).ok_or("the wheel nvidia-cuda-nvcc-cu12 cannot be imported")?;
    Ok(Path::new(&folder).join("bin/ptxas"))
}

/// PTX of every kernel: the crate compiles as on a machine with a GPU, with the libraries of the virtual environment. NVRTC does one
/// thing at a time in a process, so each architecture has its own.
fn compile_all() -> Outcome {
    // What is left of a kernel that no longer exists would be checked.
    crate::files::remove(Path::new(PTX))?;
    compile(cargo(&[&["build", "--example", "ptx"], &WORKSPACE[..]].concat()))?;
    let here = |folder: &str| std::path::absolute(folder).map_err(|error| format!("no path of {folder}: {error}"));
    let (python, cache) = (here("target/venv-nvrtc")?, here("target/kernels/cache")?);
    in_parallel(&ARCHITECTURES, |architecture| {
        let mut command = program("target/debug/examples/ptx", &[PTX, architecture]);
        command.env("VIRTUAL_ENV", &python).env_remove("CUDA_HOME").env_remove("CUDA_PATH");
        command.env("FLOWRL_CACHE_DIR", &cache);
        run_command(command)
    })
    .into_iter()
    .collect()
}

/// Applies `work` to each item on all processors; results are in the order of the items.
fn in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(|| {
                loop {
                    let i = next.fetch_add(1, Relaxed);
                    let Some(item) = items.get(i) else { break };
                    let result = work(item);
                    results.lock().expect("no thread panics while it holds this").push((i, result));
                }
            });
        }
    });
    let mut results = results.into_inner().expect("no thread panicked");
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("cannot list {}: {error}", folder.display()))?;
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    Ok(paths)
}

/// `FILE.STORAGE.ARCHITECTURE`.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// What ptxas says of a file; remembered for as long as the file and ptxas are the same.
fn assemble(ptxas: &Path, path: &Path) -> Result<String, String> {
    let (stem, ptx) = (stem(path), read(path)?);
    let architecture = stem.rsplit('.').next().unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (NVRTC.packages, &ptx, architecture).hash(&mut hasher);
    let remembered = Path::new(SAID).join(format!("{:016x}.txt", hasher.finish()));
    if let Ok(log) = std::fs::read_to_string(&remembered) {
        return Ok(log);
    }
    let mut command = std::process::Command::new(ptxas);
    command.arg("-v").arg(format!("-arch={architecture}")).arg(path).args(["-o", "/dev/null"]);
    let result = command.output().map_err(|error| format!("cannot run {}: {error}", ptxas.display()))?;
    let log = String::from_utf8_lossy(&result.stderr).into_owned();
    if !result.status.success() {
        return Err(format!("ptxas refuses {}:\n{log}", path.display()));
    }
    // A name in place at once, so that an interrupted chore leaves no half of a file behind.
    let temporary = remembered.with_extension("tmp");
    std::fs::create_dir_all(SAID)
        .and_then(|()| std::fs::write(&temporary, &log))
        .and_then(|()| std::fs::rename(&temporary, &remembered))
        .map_err(|error| format!("cannot write {}: {error}", remembered.display()))?;
    Ok(log)
}

/// Whether a kernel declares how many threads its largest block has.
fn is_bounded(ptx: &str, kernel: &str) -> bool {
    let entry = ptx.split_once(&format!(".entry {kernel}(")).map_or("", |(_, rest)| rest);
    let head = entry.split_once('{').map_or("", |(head, _)| head);
    head.contains(".maxntid")
}

struct Row {
    storage: String,
    architecture: String,
    resources: Resources,
}

/// One line for each kernel and storage type; for each architecture registers and bytes of static shared memory.
fn table(rows: &[Row]) -> String {
    let columns = ARCHITECTURES.map(|architecture| format!("sm_{architecture}"));
    let mut text = format!("{:<28} {:<5}", "kernel", "store");
    columns.iter().for_each(|column| text += &format!("{column:>16}"));
    text += "\n(registers of a thread, bytes of static shared memory)\n";
    let mut lines: Vec<(&str, &str)> =
        rows.iter().map(|row| (row.resources.kernel.as_str(), row.storage.as_str())).collect();
    lines.sort_unstable();
    lines.dedup();
    for (kernel, storage) in lines {
        text += &format!("{kernel:<28} {storage:<5}");
        for column in &columns {
            let is_here = |row: &&Row| {
                (row.resources.kernel.as_str(), row.storage.as_str(), &row.architecture) == (kernel, storage, column)
            };
            let cell = rows
                .iter()
                .find(is_here)
                .map(|Row { resources, .. }| format!("{} r {:>6} B", resources.registers, resources.shared));
            text += &format!("{:>16}", cell.unwrap_or_default());
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launch_bounds_are_seen_of_the_right_kernel() {
        let ptx = ".visible .entry a(\n.param .u64 a_param_0\n)\n{ ret; }\n\
                   .visible .entry ab(\n.param .u64 p\n)\n.maxntid 256, 1, 1\n{ ret; }\n";
        assert!(!is_bounded(ptx, "a"));
        assert!(is_bounded(ptx, "ab"));
    }

    #[test]
    fn a_kernel_has_one_line() {
        let row = |architecture: &str, registers| Row {
            storage: "f32".to_owned(),
            architecture: architecture.to_owned(),
            resources: Resources { kernel: "gelu".to_owned(), registers, shared: 16, ..Resources::default() },
        };
        let text = table(&[row("sm_80", 10), row("sm_90", 12), row("sm_100", 14)]);
        assert_eq!(text.lines().count(), 3);
        let line = text.lines().last().unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), "gelu f32 10 r 16 B 12 r 16 B 14 r 16 B");
    }
}
