//! The steps of `cargo xtask test`, and the commands of each.

use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use super::features::{every_subset, without_system};
use crate::command::{Check, Unpassed, captured, cargo, cargo_workspace, compile, output, program, run};
use crate::python::{self, NVRTC};
use crate::{api, bits, cuda, files, install, web};

pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) run: fn() -> Check,
    /// The files and folders that the step depends on, separated by spaces. It is skipped if it has already passed with
    /// them; None means that it always runs.
    pub(super) inputs: Option<&'static str>,
    /// The earlier step with which this one starts. It then runs in parallel with that step and those in between.
    pub(super) beside: Option<&'static str>,
}

/// Returns a step that always runs, and by itself.
pub(super) const fn step(name: &'static str, about: &'static str, run: fn() -> Check) -> Step {
    Step { name, about, run, inputs: None, beside: None }
}

impl Step {
    pub(super) const fn reads(self, inputs: &'static str) -> Self {
        Self { inputs: Some(inputs), ..self }
    }

    pub(super) const fn beside(self, other: &'static str) -> Self {
        Self { beside: Some(other), ..self }
    }
}

pub(super) const STEPS: [Step; 13] = [
    step("format", "every file is formatted", format),
    step("clippy", "no crate has a lint warning in any target", clippy),
    step("test", "unit tests, integration tests, doctests, the GPU benchmark with tiny shapes", test),
    step("kernels", "NVIDIA's compilers accept every CUDA kernel, without spills or warnings", cuda::kernels::check)
        .reads("Cargo.lock Cargo.toml cuda/examples cuda/kernels cuda/src cuda/tests/kernels xtask/src"),
    step("stand-in", "the GPU code, with a stand-in for NVIDIA's driver and cuBLASLt", cuda::stand_in::check)
        .reads("Cargo.lock Cargo.toml cli core cuda lab lm tests xtask/src"),
    step(
        "doc",
        "the documentation builds without a warning, and the libraries have the public items of their api.txt",
        doc,
    ),
    // Both steps leave a processor idle: this one compiles one crate at a time.
    step(
        "features",
        "core and lab under every subset of their features, the command line without GPU support",
        every_subset,
    )
    .beside("stand-in"),
    step("targets", "the core for bare metal and WebAssembly", without_system),
    step("wasm", "WebAssembly gives the same bits as this machine", bits::same_in_wasm)
        .reads("Cargo.lock Cargo.toml core lab tests/bits xtask/src"),
    // Both steps leave much of two processors idle.
    step("web", "the browser lab: module, page and npm package, in Node.js and in Chromium", web::check)
        .reads("Cargo.lock Cargo.toml core lab wasm xtask")
        .beside("kernels"),
    step("watch", "the page of `flowrl-cli watch` shows a run in Chromium", web::watched)
        .reads("Cargo.lock Cargo.toml cli core cuda lab lm wasm/www xtask/src"),
    step("scripts", "the Python scripts parse, and peers.py and family.py agree with their golden files", scripts),
    step("deny", "cargo-deny accepts the licences, advisories and sources of the dependencies", deny),
];

/// The thread that downloads for later steps while the first ones compile.
static DOWNLOADS: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);

/// Starts the downloads and returns at once. If one fails, the step that needs it tries again and reports it.
pub(super) fn begin_downloads() {
    let thread = thread::spawn(|| {
        let _ = captured(|| (install::compiler(), NVRTC.interpreter(None), web::install()));
    });
    *DOWNLOADS.lock().expect("no step panics while it holds this") = Some(thread);
}

fn format() -> Check {
    install::component("rustfmt", "fmt")?;
    Ok(run(cargo(&["fmt", "--all", "--check"])).map_err(|why| format!("{why}; `cargo fmt` fixes it"))?)
}

fn clippy() -> Check {
    install::component("clippy", "clippy")?;
    Ok(compile(cargo(&["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))?)
}

fn test() -> Check {
    let downloads = DOWNLOADS.lock().expect("no step panics while it holds this").take();
    // If the thread panicked, the step that needs the missing download reports it.
    let _ = downloads.map(JoinHandle::join);
    install::compiler()?;
    // This builds all that this and later steps run. Fewer crates in one build would have other features, and most
    // would be compiled again.
    let targets = ["--lib", "--bins", "--tests"];
    compile(cargo_workspace("test", &targets).args(["--no-run", "--bench", "gpu", "--example", "ptx"]))?;
    run(cargo_workspace("test", &targets))?;
    run(cargo_workspace("test", &["--doc"]))?;
    // The benchmark runs with tiny shapes in the emulator.
    Ok(run(cargo_workspace("bench", &["--bench", "gpu", "--profile", "dev", "--", "--smoke"]))?)
}

fn doc() -> Check {
    compile(cargo(&["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(api::check()?)
}

fn scripts() -> Check {
    let python = python::system().ok_or_else(|| Unpassed::Skipped("python3 is not installed".to_owned()))?;
    let scripts = files::listed_by_git(&["*.py"]);
    let scripts = scripts.ok_or_else(|| Unpassed::Skipped("git cannot list the scripts".to_owned()))?;
    // Unlike compileall, this parses every file and writes no bytecode.
    let code = "import ast, sys; [ast.parse(open(path, encoding='utf-8').read(), path) for path in sys.argv[1:]]";
    run(program(python, &["-c", code]).args(scripts))?;
    for golden in ["tests/golden/peers.py", "tests/golden/family.py"] {
        run(program(python, &["-B", golden, "--check"]))?;
    }
    Ok(())
}

fn deny() -> Check {
    let skipped = |why: &str| Unpassed::Skipped(why.to_owned());
    output(cargo(&["deny", "--version"]))
        .ok_or_else(|| skipped("cargo-deny is not installed (`cargo install cargo-deny`)"))?;
    run(cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    output(cargo(&["deny", "fetch", "db"]))
        .ok_or_else(|| skipped("licences and sources passed, but the database of advisories cannot be reached"))?;
    Ok(run(cargo(&["deny", "check", "advisories"]))?)
}
