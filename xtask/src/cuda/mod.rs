//! Checks of the CUDA code on machines without a GPU, and the archive for a machine with one.

pub(crate) mod kernels;
pub(crate) mod pack;
mod resources;
pub(crate) mod stand_in;

use crate::args::Args;
use crate::command::{Outcome, cargo, output, program, run as run_command};
use crate::install;

/// The compiler options for the kernels. The first error that a sanitizer finds ends the test.
const FLAGS: &str = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer";
/// The options of AddressSanitizer. Leaks are not detected, because Rust's code is not instrumented: memory that it
/// keeps until the end would look like leaks.
const OPTIONS: &str = "ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0";

/// Runs the tests whose names contain a filter, or all that run in the emulator, under both sanitizers.
pub(crate) fn sanitize(mut args: Args) -> Outcome {
    let filters = args.words();
    args.finish()?;
    if !cfg!(target_os = "linux") {
        return Err("the sanitizers are loaded by LD_PRELOAD, which needs Linux".to_owned());
    }
    let compiler = install::compiler_name();
    // If the compiler does not have a library, it prints the name without a path.
    let runtime = output(program(&compiler, &["-print-file-name=libasan.so"])).filter(|path| path.contains('/'));
    let runtime = runtime.ok_or(format!("`{compiler}` has no libasan.so; it comes with g++"))?;
    // The runtime must be loaded first in the tested process, and in no other process.
    let runner = format!(
        "target.'cfg(unix)'.runner = ['env', 'LD_PRELOAD={runtime}', '{OPTIONS}', 'UBSAN_OPTIONS=print_stacktrace=1']"
    );
    let filters = if filters.is_empty() { vec!["on_emulated".to_owned()] } else { filters };
    let words = ["test", "-p", "flowrl-cuda", "--tests", "--config", &runner, "--"];
    run_command(cargo(&words).args(filters).env("FLOWRL_EMULATOR_FLAGS", FLAGS))
}
