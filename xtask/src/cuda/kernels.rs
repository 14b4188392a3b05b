//! `cargo xtask kernels`: compiles every kernel with NVIDIA's compilers, without a GPU.

use super::resources::{Resources, parse};
use crate::command::{cargo, compile, program, run as run_command};
use crate::python::{self, NVRTC};
use crate::{Args, Outcome, WORKSPACE};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The compute capabilities of Ampere, Hopper and Blackwell.
const ARCHITECTURES: [&str; 3] = ["80", "90", "100"];
const PTX: &str = "target/kernels/ptx";
/// The largest number of registers of a thread. If a kernel uses all of them, another version of NVIDIA's compiler may
/// spill.
const ALL_REGISTERS: u32 = 255;

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    match check()? {
        None => Ok(()),
        Some(why) => Err(why),
    }
}

/// Compiles every kernel, prints a table, and fails if a kernel has a problem. If nothing can be compiled here, returns
/// the reason.
pub(crate) fn check() -> Result<Option<String>, String> {
    if !cfg!(target_os = "linux") {
        return Ok(Some("NVIDIA's wheels with these compilers are for Linux only".to_owned()));
    }
    if python::system().is_none() {
        return Ok(Some("python3 is not installed, and is needed to fetch NVIDIA's compilers".to_owned()));
    }
    if let Err(why) = NVRTC.interpreter(None) {
        return Ok(Some(format!("NVIDIA's compilers cannot be fetched: {why}")));
    }
    compile_all()?;
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    for path in sorted(Path::new(PTX))?.into_iter().filter(|path| path.extension().is_some_and(|end| end == "ptx")) {
        let (stem, ptx) = (stem(&path), read(&path)?);
        let [file, storage, architecture] = stem.split('.').collect::<Vec<_>>()[..] else {
            return Err(format!("{} is not named FILE.STORAGE.ARCHITECTURE", path.display()));
        };
        let said: Vec<&str> = ptx.lines().filter_map(|line| line.strip_prefix("// NVRTC: ")).collect();
        let warnings = said.iter().filter(|line| !is_information(line));
        problems.extend(warnings.map(|line| format!("{file}.cu for {storage}, {architecture}: {line}")));
        let found = parse(&said.join("\n"));
        if found.is_empty() {
            problems.push(format!("{file}.cu for {storage}, {architecture}: NVRTC produced no machine code"));
        }
        for resources in found {
            let wrong = resources.problems(is_bounded(&ptx, &resources.kernel));
            let kernel = &resources.kernel;
            problems
                .extend(wrong.iter().map(|why| format!("{kernel} ({file}.cu) for {storage}, {architecture}: {why}")));
            rows.push(Row { storage: storage.to_owned(), architecture: architecture.to_owned(), resources });
        }
    }
    print!("{}", table(&rows));
    warnings(&rows).iter().for_each(|warning| println!("warning: {warning}"));
    match problems.len() {
        0 => Ok(None),
        count => Err(format!("{count} problems\n{}", problems.join("\n"))),
    }
}

/// Compiles every kernel as on a machine with a GPU, to the machine code that would run there, with the libraries of
/// the virtual environment. The written PTX ends with the assembler's messages about that code. NVRTC serialises the
/// compilations of a process, so each architecture has a process of its own.
fn compile_all() -> Outcome {
    // Otherwise the files of kernels that no longer exist would be checked.
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

/// Applies `work` to each item on all processors, and returns the results in the order of the items.
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

/// Returns the file name without its extension, which is `FILE.STORAGE.ARCHITECTURE` for a kernel.
fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

/// Returns whether a line of the assembler reports resources, and is not a warning.
fn is_information(line: &str) -> bool {
    let rest = line.trim_start_matches("ptxas").trim_start();
    line.starts_with("ptxas") && (rest.starts_with("info") || rest.starts_with('.'))
}

/// Returns a warning for each kernel that uses all registers.
fn warnings(rows: &[Row]) -> Vec<String> {
    let is_full = |row: &&Row| row.resources.registers == ALL_REGISTERS;
    let warning = |Row { storage, architecture, resources }: &Row| {
        format!(
            "{} for {storage}, {architecture} uses all {ALL_REGISTERS} registers of a thread: another version of the \
             compiler may spill",
            resources.kernel
        )
    };
    rows.iter().filter(is_full).map(warning).collect()
}

/// Returns whether a kernel declares the size of its largest block.
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

/// Formats a table with a line for each kernel and storage type. For each architecture it has the registers and the
/// bytes of static shared memory.
fn table(rows: &[Row]) -> String {
    let columns = ARCHITECTURES.map(|architecture| format!("sm_{architecture}"));
    let mut text = format!("{:<28} {:<5}", "kernel", "store");
    columns.iter().for_each(|column| text += &format!("{column:>16}"));
    text += "\n(registers per thread, bytes of static shared memory)\n";
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
    fn warnings_of_the_assembler_are_told_from_its_information() {
        for line in ["ptxas info    : Used 10 registers", "ptxas         .     0 bytes stack frame"] {
            assert!(is_information(line), "{line}");
        }
        for line in ["ptxas warning : Registers are spilled", "log_prob.cu(7): warning #177-D: variable"] {
            assert!(!is_information(line), "{line}");
        }
    }

    #[test]
    fn a_kernel_that_takes_all_registers_is_warned_of() {
        let row = |kernel: &str, registers| Row {
            storage: "bf16".to_owned(),
            architecture: "sm_90".to_owned(),
            resources: Resources { kernel: kernel.to_owned(), registers, ..Resources::default() },
        };
        let warnings = warnings(&[row("one", 254), row("two", 255)]);
        assert!(warnings.len() == 1 && warnings[0].starts_with("two for bf16, sm_90 uses all 255"), "{warnings:?}");
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
