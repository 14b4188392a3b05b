//! Checks of feature combinations, and of targets without an operating system.

use crate::Outcome;
use crate::command::{cargo, compile, output, program, run};
use std::path::Path;

/// Bare metal without atomic compare-and-swap, and WebAssembly for browsers.
const TARGETS: [&str; 2] = ["thumbv6m-none-eabi", "wasm32-unknown-unknown"];
const CORE_FEATURES: [&str; 3] = ["alloc", "fast", "serde"];
const LAB_FEATURES: [&str; 2] = ["fast", "serde"];

/// Lints the core and the lab under every subset of their features, the command line without GPU support, and with GPU support as in
/// a program in which another crate (such as candle) links CUDA.
pub(crate) fn every_combination() -> Outcome {
    // The other crates are there so that dependencies have the same features as in a build of the whole workspace. Few
    // are then compiled again.
    let without_gpu = ["-p", "flowrl-cli", "-p", "flowrl-wasm", "--no-default-features"];
    let linked = ["-p", "flowrl-cuda", "-p", "flowrl-cli", "-p", "flowrl-wasm", "--features", "cudarc/dynamic-linking"];
    for chosen in [&without_gpu[..], &linked] {
        compile(cargo(&[&["clippy"], chosen, &["--", "-Dwarnings"]].concat()))?;
    }
    for (package, features) in [("flowrl-core", &CORE_FEATURES[..]), ("flowrl-lab", &LAB_FEATURES)] {
        for subset in subsets(features) {
            let features = ["--no-default-features", "--features", &subset];
            compile(cargo(&[&["clippy", "-p", package], &features[..], &["--", "-Dwarnings"]].concat()))?;
        }
    }
    Ok(())
}

/// Checks the core and the lab for these targets under every subset of the features that need no operating system.
pub(crate) fn without_system() -> Outcome {
    for target in TARGETS {
        install_target(target)?;
        for (package, features) in [("flowrl-core", &["alloc", "serde"][..]), ("flowrl-lab", &["serde"])] {
            for subset in subsets(features) {
                let features = ["--no-default-features", "--features", &subset];
                compile(cargo(&[&["check", "-p", package, "--target", target], &features[..]].concat()))?;
            }
        }
    }
    Ok(())
}

/// Returns all subsets in the syntax of `--features`, starting with the empty one.
fn subsets(features: &[&str]) -> Vec<String> {
    (0..1_usize << features.len())
        .map(|bits| {
            let chosen: Vec<&str> =
                features.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, &name)| name).collect();
            chosen.join(",")
        })
        .collect()
}

/// Installs a target of the compiler if it is missing.
pub(crate) fn install_target(target: &str) -> Outcome {
    let sysroot =
        output(program("rustc", &["--print", "sysroot"])).ok_or("cannot run rustc; install Rust by rustup")?;
    if Path::new(&sysroot).join("lib/rustlib").join(target).join("lib").is_dir() {
        return Ok(());
    }
    run(program("rustup", &["target", "add", target]))
        .map_err(|why| format!("the target {target} is not installed, and adding it failed: {why}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn subsets_are_all_and_distinct() {
        assert_eq!(super::subsets(&["a", "b"]), ["", "a", "b", "a,b"]);
        assert_eq!(super::subsets(&["a", "b", "c"]).len(), 8);
    }
}
