//! `cargo xtask kernels`: compiles every kernel with NVIDIA's compilers, without a GPU.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;

use super::resources::{Resources, parse};
use crate::args::Args;
use crate::command::{Check, Outcome, cargo_workspace, compile, program, run as run_command};
use crate::files;
use crate::python::NVRTC;

/// The compute capabilities of Ampere, Hopper and Blackwell.
const ARCHITECTURES: [&str; 3] = ["80", "90", "100"];
const PTX: &str = "target/kernels/ptx";
/// The largest number of registers of a thread. If a kernel uses all of them, another version of NVIDIA's compiler may
/// spill.
const ALL_REGISTERS: u32 = 255;

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    Ok(check()?)
}

/// Compiles every kernel, prints a table, and fails if a kernel has a problem.
pub(crate) fn check() -> Check {
    NVRTC.required()?;
    compile_all()?;
    let (mut kernels, mut problems) = (Kernels::new(), Vec::new());
    for path in files::with_extension(PTX, "ptx")? {
        let (stem, ptx) = (path.file_stem().unwrap_or_default().to_string_lossy(), files::read(&path)?);
        let [file, storage, architecture] = stem.split('.').collect::<Vec<_>>()[..] else {
            return Err(format!("{} is not named FILE.STORAGE.ARCHITECTURE", path.display()).into());
        };
        let of_file = format!("{file}.cu for {storage}, {architecture}");
        let said: Vec<&str> = ptx.lines().filter_map(|line| line.strip_prefix("// NVRTC: ")).collect();
        problems.extend(said.iter().filter(|line| !is_information(line)).map(|line| format!("{of_file}: {line}")));
        let found = parse(&said.join("\n"));
        if found.is_empty() {
            problems.push(format!("{of_file}: NVRTC produced no machine code"));
        }
        for resources in found {
            let kernel = &resources.kernel;
            let wrong = resources.problems(is_bounded(&ptx, kernel));
            problems.extend(wrong.iter().map(|why| format!("{kernel} in {of_file}: {why}")));
            let of_kernel = kernels.entry((kernel.clone(), storage.to_owned())).or_default();
            of_kernel.insert(architecture.to_owned(), resources);
        }
    }
    print!("{}", table(&kernels));
    warnings(&kernels).iter().for_each(|warning| println!("warning: {warning}"));
    match problems.len() {
        0 => Ok(()),
        count => Err(format!("{count} problems\n{}", problems.join("\n")).into()),
    }
}

/// Compiles every kernel as on a machine with a GPU, to the machine code that would run there, with the libraries of
/// the virtual environment. The written PTX ends with the assembler's messages about that code. NVRTC serialises the
/// compilations of a process, so each architecture has a process of its own.
fn compile_all() -> Outcome {
    // Otherwise the files of kernels that no longer exist would be checked.
    files::remove(Path::new(PTX))?;
    compile(cargo_workspace("build", &["--example", "ptx"]))?;
    let (python, cache) = (files::absolute("target/venv-nvrtc")?, files::absolute("target/kernels/cache")?);
    let (python, cache) = (&python, &cache);
    thread::scope(|scope| {
        let compile = |architecture| {
            scope.spawn(move || {
                let mut command = program("target/debug/examples/ptx", &[PTX, architecture]);
                command.env("VIRTUAL_ENV", python).env_remove("CUDA_HOME").env_remove("CUDA_PATH");
                run_command(command.env("FLOWRL_CACHE_DIR", cache))
            })
        };
        let processes = ARCHITECTURES.map(compile);
        processes.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a thread panicked")?)
    })
}

/// Returns whether a line of the assembler reports resources, and is not a warning.
fn is_information(line: &str) -> bool {
    let rest = line.trim_start_matches("ptxas").trim_start();
    line.starts_with("ptxas") && (rest.starts_with("info") || rest.starts_with('.'))
}

/// Returns a warning for each kernel that uses all registers.
fn warnings(kernels: &Kernels) -> Vec<String> {
    let mut warnings = Vec::new();
    for ((kernel, storage), architectures) in kernels {
        for (architecture, _) in architectures.iter().filter(|(_, found)| found.registers == ALL_REGISTERS) {
            warnings.push(format!(
                "{kernel} for {storage}, {architecture} uses all {ALL_REGISTERS} registers of a thread: another version \
                 of the compiler may spill"
            ));
        }
    }
    warnings
}

/// Returns whether a kernel declares the size of its largest block.
fn is_bounded(ptx: &str, kernel: &str) -> bool {
    let entry = ptx.split_once(&format!(".entry {kernel}(")).map_or("", |(_, rest)| rest);
    let head = entry.split_once('{').map_or("", |(head, _)| head);
    head.contains(".maxntid")
}

/// The resources of each kernel, by its name and storage type, and then by architecture.
type Kernels = BTreeMap<(String, String), BTreeMap<String, Resources>>;

/// Formats a table with a line for each kernel and storage type. For each architecture it has the registers and the
/// bytes of static shared memory.
fn table(kernels: &Kernels) -> String {
    let columns = ARCHITECTURES.map(|architecture| format!("sm_{architecture}"));
    let mut text = format!("{:<28} {:<5}", "kernel", "store");
    columns.iter().for_each(|column| text += &format!("{column:>16}"));
    text += "\n(registers per thread, bytes of static shared memory)\n";
    for ((kernel, storage), architectures) in kernels {
        text += &format!("{kernel:<28} {storage:<5}");
        for column in &columns {
            let cell = architectures.get(column).map(|found| format!("{} r {:>6} B", found.registers, found.shared));
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
        let kernel = |name: &str, registers| {
            let found = Resources { registers, ..Resources::default() };
            ((name.to_owned(), "bf16".to_owned()), BTreeMap::from([("sm_90".to_owned(), found)]))
        };
        let warnings = warnings(&BTreeMap::from([kernel("one", 254), kernel("two", 255)]));
        assert!(warnings.len() == 1 && warnings[0].starts_with("two for bf16, sm_90 uses all 255"), "{warnings:?}");
    }

    #[test]
    fn a_kernel_has_one_line() {
        let on = |architecture: &str, registers| {
            (architecture.to_owned(), Resources { registers, shared: 16, ..Resources::default() })
        };
        let gelu = BTreeMap::from([on("sm_80", 10), on("sm_90", 12), on("sm_100", 14)]);
        let text = table(&BTreeMap::from([(("gelu".to_owned(), "f32".to_owned()), gelu)]));
        assert_eq!(text.lines().count(), 3);
        let line = text.lines().last().unwrap();
        assert_eq!(line.split_whitespace().collect::<Vec<_>>().join(" "), "gelu f32 10 r 16 B 12 r 16 B 14 r 16 B");
    }
}
