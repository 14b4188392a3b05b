//! The steps of `cargo xtask test`, and the commands of each.

use super::{Done, Step, downloads};
use crate::command::{cargo, compile, output, program, run, tell};
use crate::{Outcome, WORKSPACE, apt, bits, cuda, features, python, web};

pub(super) const STEPS: &[Step] = &[
    Step { name: "format", about: "every file is formatted", run: format, inputs: None, beside: None },
    Step {
        name: "clippy",
        about: "no crate has a lint warning in any target",
        run: clippy,
        inputs: None,
        beside: None,
    },
    Step {
        name: "test",
        about: "unit tests, integration tests, doctests, the GPU benchmark with tiny shapes",
        run: test,
        inputs: None,
        beside: None,
    },
    Step {
        name: "kernels",
        about: "NVIDIA's compilers accept every CUDA kernel, without spills or warnings",
        run: kernels,
        inputs: Some(&[
            "Cargo.lock",
            "Cargo.toml",
            "cuda/examples",
            "cuda/kernels",
            "cuda/src",
            "cuda/tests/kernels",
            "xtask/src",
        ]),
        beside: None,
    },
    Step {
        name: "stand-in",
        about: "the GPU code, with a stand-in for NVIDIA's driver and cuBLASLt",
        run: stand_in,
        inputs: Some(&["Cargo.lock", "Cargo.toml", "cli", "core", "cuda", "lab", "lm", "tests", "xtask/src"]),
        beside: None,
    },
    Step { name: "doc", about: "the documentation builds without a warning", run: doc, inputs: None, beside: None },
    Step {
        name: "features",
        about: "the core under every subset of its features, the command line without GPU support",
        run: combinations,
        inputs: None,
        // Both steps leave a processor idle: this one compiles one crate at a time.
        beside: Some("stand-in"),
    },
    Step {
        name: "targets",
        about: "the core for bare metal and WebAssembly",
        run: targets,
        inputs: None,
        beside: None,
    },
    Step {
        name: "wasm",
        about: "WebAssembly gives the same bits as this machine",
        run: wasm,
        inputs: Some(&["Cargo.lock", "Cargo.toml", "core", "lab", "tests/bits", "xtask/src"]),
        beside: None,
    },
    Step {
        name: "web",
        about: "the browser lab: module, page and npm package, in Node.js and in Chromium",
        run: web,
        inputs: Some(&["Cargo.lock", "Cargo.toml", "core", "lab", "wasm", "xtask"]),
        // Both steps leave much of two processors idle.
        beside: Some("kernels"),
    },
    Step {
        name: "watch",
        about: "the page of `flowrl-cli watch` shows a run in Chromium",
        run: watch,
        inputs: Some(&["Cargo.lock", "Cargo.toml", "cli", "core", "cuda", "lab", "lm", "wasm/www", "xtask/src"]),
        beside: None,
    },
    Step {
        name: "scripts",
        about: "the Python scripts parse, and peers.py and family.py agree with their golden files",
        run: scripts,
        inputs: None,
        beside: None,
    },
    Step {
        name: "deny",
        about: "cargo-deny accepts the licences, advisories and sources of the dependencies",
        run: deny,
        inputs: None,
        beside: None,
    },
];

fn format() -> Result<Done, String> {
    install_component("rustfmt", "fmt")?;
    run(cargo(&["fmt", "--all", "--check"])).map_err(|why| format!("{why}; `cargo fmt` fixes it"))?;
    Ok(Done::Passed)
}

fn clippy() -> Result<Done, String> {
    install_component("clippy", "clippy")?;
    compile(cargo(&["clippy", "--workspace", "--all-targets", "--", "-Dwarnings"]))?;
    Ok(Done::Passed)
}

fn test() -> Result<Done, String> {
    downloads::wait();
    install_compiler()?;
    // This builds all that this and later steps run. Fewer crates in one build would have other features, and most
    // would be compiled again.
    let built = [&WORKSPACE[..], &["--lib", "--bins", "--tests"]].concat();
    compile(cargo(&[&["test", "--no-run", "--bench", "gpu", "--example", "ptx"], &built[..]].concat()))?;
    run(cargo(&[&["test"], &built[..]].concat()))?;
    run(cargo(&[&["test", "--doc"], &WORKSPACE[..]].concat()))?;
    // The benchmark runs with tiny shapes in the emulator.
    run(cargo(&[&["bench", "--bench", "gpu", "--profile", "dev"], &WORKSPACE[..], &["--", "--smoke"]].concat()))?;
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
    compile(command)?;
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
        Some(lines) => tell(&format!("{lines} lines, the same bits")),
        None => return Ok(Done::Skipped("node is not installed".to_owned())),
    }
    Ok(Done::Passed)
}

fn web() -> Result<Done, String> {
    Ok(web::check()?.map_or(Done::Passed, Done::Skipped))
}

fn watch() -> Result<Done, String> {
    Ok(web::watched()?.map_or(Done::Passed, Done::Skipped))
}

fn scripts() -> Result<Done, String> {
    let Some(python) = python::system() else {
        return Ok(Done::Skipped("python3 is not installed".to_owned()));
    };
    // Unlike compileall, this parses every file and writes no bytecode.
    let code = "import ast, sys; [ast.parse(open(path, encoding='utf-8').read(), path) for path in sys.argv[1:]]";
    let files = python::scripts()?;
    let mut command = program(python, &["-c", code]);
    command.args(files);
    run(command)?;
    for golden in ["tests/golden/peers.py", "tests/golden/family.py"] {
        run(program(python, &["-B", golden, "--check"]))?;
    }
    Ok(Done::Passed)
}

fn deny() -> Result<Done, String> {
    if output(cargo(&["deny", "--version"])).is_none() {
        return Ok(Done::Skipped("cargo-deny is not installed (`cargo install cargo-deny`)".to_owned()));
    }
    run(cargo(&["deny", "check", "bans", "licenses", "sources"]))?;
    if output(cargo(&["deny", "fetch", "db"])).is_none() {
        let why = "licences and sources passed, but the database of advisories cannot be reached";
        return Ok(Done::Skipped(why.to_owned()));
    }
    run(cargo(&["deny", "check", "advisories"])).map(|()| Done::Passed)
}

/// Installs a C++ compiler if there is none. The emulator compiles kernels with it.
pub(super) fn install_compiler() -> Outcome {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    if output(program(&compiler, &["--version"])).is_some() {
        return Ok(());
    }
    apt::install(&["g++"]).map_err(|why| format!("there is no C++ compiler `{compiler}`; {why}"))
}

/// Installs a component of the toolchain if `cargo SUBCOMMAND` does not run.
fn install_component(component: &str, subcommand: &str) -> Outcome {
    if output(cargo(&[subcommand, "--version"])).is_some() {
        return Ok(());
    }
    run(program("rustup", &["component", "add", component]))
}
