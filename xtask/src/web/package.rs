//! Assembles the npm package in `target/npm/flowrl-core`, ready for `npm pack`.

use super::module;
use crate::Outcome;
use crate::command::tell;
use std::path::{Path, PathBuf};

const FOLDER: &str = "target/npm/flowrl-core";
const SOURCES: &str = "wasm/npm";
const LICENCES: [&str; 2] = ["LICENSE-APACHE", "LICENSE-MIT"];
const WRITTEN: [&str; 2] = ["README.md", "node.js"];
const GENERATED: [&str; 3] = ["flowrl_wasm.js", "flowrl_wasm.d.ts", "flowrl_wasm_bg.wasm"];

/// Assembles the package from the module and `wasm/npm`.
pub(crate) fn assemble() -> Outcome {
    let folder = Path::new(FOLDER);
    crate::files::remove(folder)?;
    std::fs::create_dir_all(folder).map_err(|error| format!("cannot create {FOLDER}: {error}"))?;
    let sources = [(".", &LICENCES[..]), (SOURCES, &WRITTEN), (module::FOLDER, &GENERATED)];
    for from in sources.iter().flat_map(|(folder, names)| names.iter().map(|name| Path::new(folder).join(name))) {
        copy(&from, folder)?;
    }
    let template = Path::new(SOURCES).join("package.json");
    let text =
        std::fs::read_to_string(&template).map_err(|error| format!("cannot read {}: {error}", template.display()))?;
    let to = folder.join("package.json");
    std::fs::write(&to, with_version(&text)?).map_err(|error| format!("cannot write {}: {error}", to.display()))?;
    tell(&format!("the npm package is in {FOLDER}"));
    Ok(())
}

fn copy(from: &Path, folder: &Path) -> Outcome {
    let to: PathBuf = folder.join(from.file_name().unwrap_or_default());
    match std::fs::copy(from, &to) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!("cannot copy {} to {}: {error}", from.display(), to.display())),
    }
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
