//! Assembles the npm package in `target/npm/flowrl-core`, ready for `npm pack`.

use std::path::Path;

use super::module;
use crate::command::{Outcome, tell};
use crate::files;

const FOLDER: &str = "target/npm/flowrl-core";
const SOURCES: &str = "wasm/npm";
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const WRITTEN: [&str; 2] = ["README.md", "node.js"];
const GENERATED: [&str; 3] = ["flowrl_wasm.js", "flowrl_wasm.d.ts", "flowrl_wasm_bg.wasm"];

/// Assembles the package from the module and `wasm/npm`.
pub(crate) fn assemble() -> Outcome {
    let folder = Path::new(FOLDER);
    files::remove(folder)?;
    for (source, names) in [(".", &LICENCES[..]), (SOURCES, &WRITTEN), (module::FOLDER, &GENERATED)] {
        files::copy_into(folder, names.iter().map(|name| Path::new(source).join(name)))?;
    }
    let template = files::read(Path::new(SOURCES).join("package.json"))?;
    files::write(&folder.join("package.json"), &with_version(&template)?)?;
    tell(&format!("the npm package is in {FOLDER}"));
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
