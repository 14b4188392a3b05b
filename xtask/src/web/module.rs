//! The WebAssembly module and its bindings, in `wasm/pkg`.

use super::npm;
use crate::Outcome;
use crate::command::{cargo, compile};
use crate::features::install_target;
use std::path::Path;

const TARGET: &str = "wasm32-unknown-unknown";
/// The module, its bindings and their types.
pub(crate) const FOLDER: &str = "wasm/pkg";
/// Other builds for WebAssembly have other flags: in one folder each would build anew what the other left.
const TARGET_FOLDER: &str = "target/web";
const COMPILED: &str = "target/web/wasm32-unknown-unknown/web/flowrl_wasm.wasm";
const MANIFEST: &str = "wasm/pkg/package.json";
const MODULE: &str = "wasm/pkg/flowrl_wasm_bg.wasm";

/// Every browser of the last years has 128-bit vectors: about twice as fast.
const VECTORS: &str = "-Ctarget-feature=+simd128";
/// A visitor fetches the module: what LLVM copies for speed alone, into loops and callers, was a tenth of it and gave one step in twenty. Nor does
/// a loop gain from more variables than its author wrote, or from a second copy for slices that might overlap.
const SMALL: &str = "-Cllvm-args=-force-vector-interleave=1 -Cllvm-args=-inline-threshold=50 -Cllvm-args=-unroll-threshold=120 \
                     -Cllvm-args=-unroll-runtime=false -Cllvm-args=-unroll-allow-peeling=false \
                     -Cllvm-args=-enable-nontrivial-unswitch=false \
                     -Cllvm-args=-disable-lsr -Cllvm-args=-vectorize-memory-check-threshold=0";

/// Compiles, writes the bindings, optimises.
pub(crate) fn build() -> Outcome {
    install_target(TARGET)?;
    let mut module = cargo(&["build", "-p", "flowrl-wasm", "--lib", "--profile", "web"]);
    module.args(["--target", TARGET, "--target-dir", TARGET_FOLDER]);
    module.env("RUSTFLAGS", format!("{VECTORS} {SMALL}"));
    compile(module)?;
    compile(cargo(&["run", "--quiet", "--profile", "tools", "-p", "flowrl-bindgen", "--", COMPILED, FOLDER]))?;
    // Without it Node.js takes the bindings for CommonJS.
    std::fs::write(MANIFEST, "{ \"private\": true, \"type\": \"module\" }\n")
        .map_err(|error| format!("cannot write {MANIFEST}: {error}"))?;
    let module = absolute(Path::new(MODULE))?;
    compile(npm::tool(npm::WASM_OPT, &["-O3", &module, "-o", &module]))
}

fn absolute(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path.to_string_lossy().into_owned())
}
