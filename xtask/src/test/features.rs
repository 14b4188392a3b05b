//! Checks of feature combinations, and of targets without an operating system.

use crate::command::{Check, Outcome, cargo, compile};
use crate::install;

/// Bare metal without atomic compare-and-swap, and WebAssembly for browsers.
const TARGETS: [&str; 2] = ["thumbv6m-none-eabi", "wasm32-unknown-unknown"];

/// Lints the core and the lab under every subset of their features, the command line without GPU support, and with GPU
/// support as in a program in which another crate (such as candle) links CUDA.
pub(crate) fn every_subset() -> Check {
    install::component("clippy", "clippy")?;
    // The other crates are there so that dependencies have the same features as in a build of the whole workspace. Few
    // are then compiled again.
    let without_gpu = ["-p", "flowrl-cli", "-p", "flowrl-wasm", "--no-default-features"];
    let linked = ["-p", "flowrl-cuda", "-p", "flowrl-cli", "-p", "flowrl-wasm", "--features", "cudarc/dynamic-linking"];
    // The packed program without GPU support; the tests have tables with it.
    let packed = ["-p", "flowrl-cli", "-p", "flowrl-wasm", "--no-default-features", "--features", "flowrl-cli/tables"];
    for chosen in [&without_gpu[..], &packed, &linked] {
        compile(cargo(&["clippy"]).args(chosen).args(["--", "-Dwarnings"]))?;
    }
    Ok(with_subsets("clippy", &["alloc", "fast", "serde"], &["fast", "serde"], &["--", "-Dwarnings"])?)
}

/// Checks the core and the lab for these targets under every subset of the features that need no operating system.
pub(crate) fn without_system() -> Check {
    for target in TARGETS {
        install::target(target)?;
        with_subsets("check", &["alloc", "serde"], &["serde"], &["--target", target])?;
    }
    Ok(())
}

/// Runs `cargo SUBCOMMAND` for the core and the lab with every subset of these features.
fn with_subsets(subcommand: &str, core: &[&str], lab: &[&str], words: &[&str]) -> Outcome {
    for (package, features) in [("flowrl-core", core), ("flowrl-lab", lab)] {
        for subset in subsets(features) {
            let chosen = [subcommand, "-p", package, "--no-default-features", "--features", &subset];
            compile(cargo(&chosen).args(words))?;
        }
    }
    Ok(())
}

/// Returns all subsets in the syntax of `--features`, starting with the empty one.
pub(crate) fn subsets(features: &[&str]) -> Vec<String> {
    let is_in = |bits: usize, i: usize| bits >> i & 1 == 1;
    let subset = |bits| (0..features.len()).filter(|&i| is_in(bits, i)).map(|i| features[i]).collect::<Vec<_>>();
    (0..1_usize << features.len()).map(|bits| subset(bits).join(",")).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn subsets_are_all_and_distinct() {
        assert_eq!(super::subsets(&["a", "b"]), ["", "a", "b", "a,b"]);
        assert_eq!(super::subsets(&["a", "b", "c"]).len(), 8);
    }
}
