//! `cargo xtask sanitize`: the kernels in the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer.

use crate::command::{cargo, output, program, run as run_command};
use crate::{Args, Outcome};

/// The kernels are compiled with these; what they find ends the test.
const FLAGS: &str = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer";
/// Rust's own memory is not instrumented, so what it keeps until the end looks like leaks.
const OPTIONS: &str = "ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0";

/// The tests whose names contain `FILTER`, or all that run in the emulator.
pub(crate) fn run(mut args: Args) -> Outcome {
    let filters = args.words();
    args.finish()?;
    if !cfg!(target_os = "linux") {
        return Err("the sanitizers are loaded as on Linux".to_owned());
    }
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    // The compiler prints the bare name of a library that it does not have.
    let runtime = output(program(&compiler, &["-print-file-name=libasan.so"])).filter(|path| path.contains('/'));
    let runtime = runtime.ok_or(format!("`{compiler}` has no libasan.so; g++ brings it"))?;
    // The runtime has to be loaded before anything else of the process that is tested, and of no other.
    let runner = format!(
        "target.'cfg(unix)'.runner = ['env', 'LD_PRELOAD={runtime}', '{OPTIONS}', 'UBSAN_OPTIONS=print_stacktrace=1']"
    );
    let mut command = cargo(&["test", "-p", "flowrl-cuda", "--tests", "--config", &runner, "--"]);
    match filters.is_empty() {
        true => command.arg("on_emulated"),
        false => command.args(filters),
    };
    command.env("FLOWRL_EMULATOR_FLAGS", FLAGS);
    run_command(command)
}
