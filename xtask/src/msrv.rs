//! `cargo xtask msrv`: compiles the crates with the oldest Rust that their manifests name.

use crate::args::Args;
use crate::command::{Outcome, program, run as run_command};
use crate::files;
use crate::test::subsets;

/// Checks the workspace, and the core under every subset of the features that do not need a newer Rust than itself.
pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    let (workspace, core) = (installed("Cargo.toml")?, installed("core/Cargo.toml")?);
    check(&workspace, &["--workspace"])?;
    for features in subsets(&["alloc", "serde"]) {
        check(&core, &["-p", "flowrl-core", "--no-default-features", "--features", &features])?;
    }
    Ok(())
}

/// Installs the toolchain of the `rust-version` in a manifest, and returns its name.
fn installed(manifest: &str) -> Result<String, String> {
    let text = files::read(manifest)?;
    let version = text.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let toolchain = format!("{}.0", version.ok_or_else(|| format!("{manifest} has no line `rust-version = \"…\"`"))?);
    run_command(program("rustup", &["toolchain", "install", &toolchain, "--profile", "minimal", "--no-self-update"]))?;
    Ok(toolchain)
}

fn check(toolchain: &str, words: &[&str]) -> Outcome {
    let cargo = ["run", toolchain, "cargo", "check", "--locked", "--target-dir", "target/msrv"];
    run_command(program("rustup", &cargo).args(words))
}
