//! Builds the WebAssembly module and its bindings in `wasm/pkg`, and the npm package in `target/npm/flowrl-lab`, ready
//! for `npm pack`.

use std::path::Path;

use super::npm;
use crate::command::{Outcome, cargo, compile, tell};
use crate::{files, install};

const TARGET: &str = "wasm32-unknown-unknown";
/// The folder of the module, its bindings and their types.
const FOLDER: &str = "wasm/pkg";
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

const PACKAGE: &str = "target/npm/flowrl-lab";
const SOURCES: &str = "wasm/npm";
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const WRITTEN: [&str; 2] = ["README.md", "node.js"];
const GENERATED: [&str; 3] = ["flowrl_wasm.js", "flowrl_wasm.d.ts", "flowrl_wasm_bg.wasm"];

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

/// Assembles the package from the module and `wasm/npm`.
pub(crate) fn assemble_package() -> Outcome {
    let folder = Path::new(PACKAGE);
    files::remove(folder)?;
    for (source, names) in [(".", &LICENCES[..]), (SOURCES, &WRITTEN), (FOLDER, &GENERATED)] {
        files::copy_into(folder, names.iter().map(|name| Path::new(source).join(name)))?;
    }
    let template = files::read(Path::new(SOURCES).join("package.json"))?;
    files::write(&folder.join("package.json"), &with_version(&template)?)?;
    tell(&format!("the npm package is in {PACKAGE}"));
    Ok(())
}

/// Inserts the version of the workspace into the template, which has a placeholder for it.
fn with_version(template: &str) -> Result<String, String> {
    const PLACE: &str = r#""version": "0.0.0""#;
    match template.matches(PLACE).count() {
        1 => Ok(template.replace(PLACE, concat!(r#""version": ""#, env!("CARGO_PKG_VERSION"), r#"""#))),
        n => Err(format!("{SOURCES}/package.json has `{PLACE}` {n} times, wanted once")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_has_the_version_of_the_workspace() {
        let template = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wasm/npm/package.json"));
        let text = with_version(&template.unwrap()).unwrap();
        assert!(text.contains(&format!(r#""version": "{}""#, env!("CARGO_PKG_VERSION"))), "{text}");
        assert!(with_version("{}").unwrap_err().contains("0 times"));
    }
}
