//! Builds the WebAssembly module and its bindings in `wasm/pkg`.

use std::path::Path;

use super::npm;
use crate::command::{Outcome, cargo, compile};
use crate::{files, install};

const TARGET: &str = "wasm32-unknown-unknown";
/// The folder of the module, its bindings and their types.
pub(crate) const FOLDER: &str = "wasm/pkg";
/// A separate target folder, since other builds for WebAssembly have other flags: in one folder, each would rebuild
/// what the other left.
const TARGET_FOLDER: &str = "target/web";
const COMPILED: &str = "target/web/wasm32-unknown-unknown/web/flowrl_wasm.wasm";
const MANIFEST: &str = "wasm/pkg/package.json";
const MODULE: &str = "wasm/pkg/flowrl_wasm_bg.wasm";

/// Enables 128-bit vectors, which every browser of the last years has. They make the module about twice as fast.
const VECTORS: &str = "-Ctarget-feature=+simd128";
/// Keeps the module small, since every visitor downloads it. The code that LLVM duplicates for speed by unrolling and
/// inlining was a tenth of the module, and made it 5 % faster. Loop strength reduction and second copies of loops for
/// slices that might overlap gained nothing.
const SMALL: &str = "-Cllvm-args=-force-vector-interleave=1 -Cllvm-args=-inline-threshold=50 -Cllvm-args=-unroll-threshold=120 \
                     -Cllvm-args=-unroll-runtime=false -Cllvm-args=-unroll-allow-peeling=false \
                     -Cllvm-args=-enable-nontrivial-unswitch=false \
                     -Cllvm-args=-disable-lsr -Cllvm-args=-vectorize-memory-check-threshold=0";

/// Compiles the module, writes its bindings, and optimises it.
pub(crate) fn build() -> Outcome {
    install::target(TARGET)?;
    let mut module = cargo(&["build", "-p", "flowrl-wasm", "--lib", "--profile", "web"]);
    module.args(["--target", TARGET, "--target-dir", TARGET_FOLDER]);
    compile(module.env("RUSTFLAGS", format!("{VECTORS} {SMALL}")))?;
    compile(cargo(&["run", "--quiet", "--profile", "tools", "-p", "flowrl-bindgen", "--", COMPILED, FOLDER]))?;
    // Without this file, Node.js would load the bindings as CommonJS.
    files::write(Path::new(MANIFEST), "{ \"private\": true, \"type\": \"module\" }\n")?;
    let module = files::absolute(MODULE)?;
    compile(npm::tool(npm::WASM_OPT, &["-O3"]).arg(&module).arg("-o").arg(&module))
}
