//! `cargo xtask test`: the steps that must pass before a merge, in the order of the quickest answer.

use crate::command::{cargo, output, program, run as run_command};
use crate::{Args, Outcome, apt, bits, cuda, features, python, web};
use std::time::{Duration, Instant};

/// How a step ended, if it did not fail.
enum Done {
    Passed,
    /// Why it could not run here.
    Skipped(String),
}

struct Step {
    name: &'static str,
    about: &'static str,
    run: fn() -> Result<Done, String>,
}

const STEPS: &[Step] = &[
    Step { name: "format", about: "rustfmt leaves every file as it is", run: format },
    Step { name: "clippy", about: "no lint fires in any target of any crate", run: clippy },
    Step { name: "test", about: "unit tests, integration tests, doctests, the GPU's benchmark in small", run: test },
    Step {
        name: "kernels",
        about: "NVIDIA's compilers take every CUDA kernel, without spills and warnings",
        run: kernels,
    },
    Step {
        name: "stand-in",
        about: "what is for GPUs alone, with a stand-in for NVIDIA's driver and cuBLASLt",
        run: stand_in,
    },
    Step { name: "doc", about: "the documentation builds without a warning", run: doc },
    Step {
        name: "features",
        about: "the core under every subset of its features, the program without a GPU's",
        run: combinations,
    },
    Step { name: "targets", about: "the core for bare metal and WebAssembly", run: targets },
    Step { name: "wasm", about: "the same bits in WebAssembly as on this machine", run: wasm },
    Step { name: "web", about: "the browser lab: module, page, npm package, in Node.js and in Chromium", run: web },
    Step { name: "scripts", about: "the Python scripts compile", run: scripts },
    Step { name: "deny", about: "licences, advisories and sources of the dependencies", run: deny },
];

/// Runs the steps; stops at the first that fails unless told to keep going.
pub(crate) fn run(mut args: Args) -> Outcome {
    let (keep_going, list, only) = (args.flag("--keep-going"), args.flag("--list"), args.values("--only")?);
    args.finish()?;
    if list {
        STEPS.iter().for_each(|step| println!("{:<10} {}", step.name, step.about));
        return Ok(());
    }
    run_steps(&choose(&only)?, keep_going)
}

fn choose(only: &[String]) -> Result<Vec<&'static Step>, String> {
    if let Some(unknown) = only.iter().find(|name| STEPS.iter().all(|step| step.name != name.as_str())) {
        let names: Vec<_> = STEPS.iter().map(|step| step.name).collect();
        return Err(format!("--only: no step is called `{unknown}`; the steps are {}", names.join(", ")));
    }
    Ok(STEPS.iter().filter(|step| only.is_empty() || only.iter().any(|name| name == step.name)).collect())
}

fn run_steps(steps: &[&Step], keep_going: bool) -> Outcome {
    let mut summary = Vec::new();
    let (mut passed, mut failed, mut skipped) = (0, Vec::new(), 0);
    for (i, step) in steps.iter().enumerate() {
        println!("\n=== {}/{} {}: {}", i + 1, steps.len(), step.name, step.about);
        let start = Instant::now();
        let outcome = (step.run)();
        let ended = match &outcome {
            Ok(Done::Passed) => "passed".to_owned(),
            Ok(Done::Skipped(why)) => format!("skipped: {why}"),
            Err(why) => format!("FAILED: {why}"),
        };
        let line = format!("{:<10} {:>7}  {ended}", step.name, show_time(start.elapsed()));
        println!("--- {line}");
        summary.push(line);
        match outcome {
            Ok(Done::Passed) => passed += 1,
            Ok(Done::Skipped(_)) => skipped += 1,
            Err(_) => failed.push(step.name),
        }
        if !failed.is_empty() && !keep_going {
            break;
        }
    }
    println!("\n=== summary");
    summary.iter().for_each(|line| println!("{line}"));
    // The last line counts steps in words that any reader of test logs knows.
    println!("\nsteps: {passed} passed, {} failed, {skipped} skipped", failed.len());
    match (failed.is_empty(), summary.len() == steps.len()) {
        (true, _) => Ok(()),
        (false, true) => Err(format!("failed: {}", failed.join(", "))),
        (false, false) => {
            Err(format!("failed: {}; the steps after it did not run (--keep-going runs them)", failed.join(", ")))
        }
    }
}

fn show_time(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn format() -> Result<Done, String> {
    install_component("rustfmt", "fmt")?;
    run_command(cargo(&["fmt", "--all", "--check"])).map_err(|why| format!("{why}; `cargo fmt` puts it right"))?;
    Ok(Done::Passed)
}

fn clippy() -> Result<Done, String> {
    install_component("clippy", "clippy")?;
    run_command(cargo(&["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))?;
    Ok(Done::Passed)
}

fn test() -> Result<Done, String> {
    install_compiler()?;
    run_command(cargo(&["test", "--workspace"]))?;
    // With tiny shapes, in the emulator.
    run_command(cargo(&["bench", "--workspace", "--bench", "gpu", "--profile", "dev", "--", "--smoke"]))?;
    Ok(Done::Passed)
}

fn kernels() -> Result<Done, String> {
    Ok(cuda::kernels::check()?.map_or(Done::Passed, Done::Skipped))
}

fn stand_in() -> Result<Done, String> {
    install_compiler()?;
    Ok(cuda::stand_in::check()?.map_or(Done::Passed, Done::Skipped))
}

fn doc() -> Result<Done, String> {
    let mut command = cargo(&["doc", "--workspace", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    run_command(command)?;
    Ok(Done::Passed)
}

fn combinations() -> Result<Done, String> {
    install_component("clippy", "clippy")?;
    features::every_combination().map(|()| Done::Passed)
}

fn targets() -> Result<Done, String> {
    features::without_system().map(|()| Done::Passed)
}

fn wasm() -> Result<Done, String> {
    match bits::same_in_wasm()? {
        Some(lines) => println!("{lines} lines, the same bits"),
        None => return Ok(Done::Skipped("no node here".to_owned())),
    }
    Ok(Done::Passed)
}

fn web() -> Result<Done, String> {
    Ok(web::check()?.map_or(Done::Passed, Done::Skipped))
}

fn scripts() -> Result<Done, String> {
    let Some(python) = python::system() else {
        return Ok(Done::Skipped("no python3 here".to_owned()));
    };
    // Parses every file and writes nothing beside it.
    let code = "import ast, sys; [ast.parse(open(path, encoding='utf-8').read(), path) for path in sys.argv[1:]]";
    let files = python::scripts()?;
    let mut command = program(python, &["-c", code]);
    command.args(files);
    run_command(command).map(|()| Done::Passed)
}

fn deny() -> Result<Done, String> {
    if output(cargo(&["deny", "--version"])).is_none() {
        return Ok(Done::Skipped("cargo-deny is not installed (`cargo install cargo-deny`)".to_owned()));
    }
    run_command(cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    if output(cargo(&["deny", "fetch", "db"])).is_none() {
        let why = "licences and sources passed; the database of advisories cannot be reached from here";
        return Ok(Done::Skipped(why.to_owned()));
    }
    run_command(cargo(&["deny", "check", "advisories"])).map(|()| Done::Passed)
}

/// Installs a C++ compiler, which the emulator of a GPU compiles kernels with.
fn install_compiler() -> Outcome {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if output(program(&compiler, &["--version"])).is_some() {
        return Ok(());
    }
    apt::install(&["g++"]).map_err(|why| format!("there is no C++ compiler `{compiler}`; {why}"))
}

/// Adds a component of the toolchain if `cargo SUBCOMMAND` does not run.
fn install_component(component: &str, subcommand: &str) -> Outcome {
    if output(cargo(&[subcommand, "--version"])).is_some() {
        return Ok(());
    }
    run_command(program("rustup", &["component", "add", component]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const PASSES: Step = Step { name: "passes", about: "", run: || Ok(Done::Passed) };
    const SKIPS: Step = Step { name: "skips", about: "", run: || Ok(Done::Skipped("why".to_owned())) };
    const FAILS: Step = Step { name: "fails", about: "", run: || Err("why".to_owned()) };

    #[test]
    fn skipped_is_no_failure() {
        run_steps(&[&PASSES, &SKIPS], false).unwrap();
    }

    #[test]
    fn stops_at_the_first_failure_unless_told_otherwise() {
        static CALLS: AtomicUsize = AtomicUsize::new(0);
        const COUNTS: Step = Step {
            name: "counts",
            about: "",
            run: || {
                CALLS.fetch_add(1, Ordering::Relaxed);
                Ok(Done::Passed)
            },
        };
        assert!(run_steps(&[&FAILS, &COUNTS], false).unwrap_err().contains("did not run"));
        assert_eq!(CALLS.load(Ordering::Relaxed), 0);
        assert_eq!(run_steps(&[&FAILS, &COUNTS], true).unwrap_err(), "failed: fails");
        assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn steps_are_chosen_by_name() {
        assert_eq!(choose(&[]).map(|steps| steps.len()), Ok(STEPS.len()));
        let chosen = choose(&["doc".to_owned(), "format".to_owned()])
            .map(|steps| steps.iter().map(|s| s.name).collect::<Vec<_>>());
        assert_eq!(chosen, Ok(vec!["format", "doc"]));
        assert!(choose(&["dco".to_owned()]).is_err_and(|why| why.contains("`dco`") && why.contains("clippy")));
    }
}
