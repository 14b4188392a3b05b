//! Collects the licences of everything that is linked into a program.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::command::{cargo, printed};
use crate::files;

/// The licences of linked code that comes from no crate.
const RUNTIME: &str = "\
The program also contains Rust's standard library, by the contributors of the Rust project: MIT OR Apache-2.0, texts
below. The static program contains musl as well: copyright (c) 2005-2020 Rich Felker and others, MIT, text below.
";

/// Returns a text that lists each crate with its licence, followed by each distinct licence text with its crates.
pub(super) fn of(target: &str, features: &[&str]) -> Result<String, String> {
    let words =
        ["tree", "-p", "flowrl-cli", "-e", "normal", "--prefix", "none", "--format", "{p}\t{l}", "--target", target];
    let crates = crates(&printed(cargo(&words).args(features))?);
    let sources = sources()?;
    let mut index = String::new();
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, licence) in &crates {
        let found = sources.iter().map(|folder| folder.join(name)).find(|folder| folder.is_dir());
        let found = found.ok_or_else(|| format!("the sources of {name} are not in {sources:?}"))?;
        let licences = licence_files(&found)?;
        let note = if licences.is_empty() { " (the package does not contain its text)" } else { "" };
        index += &format!("{name}: {licence}{note}\n");
        for file in licences {
            let text = files::bytes(file)?;
            texts.entry(normal(&String::from_utf8_lossy(&text))).or_default().push(name.clone());
        }
    }
    for file in ["LICENSE-APACHE", "LICENSE-MIT"] {
        texts.entry(normal(&files::read(file)?)).or_default().push("flowrl".to_owned());
    }
    let mut all = format!("{RUNTIME}\n{index}");
    for (text, names) in texts {
        all += &format!("\n{}\n{}\n\n{text}\n", "=".repeat(80), names.join(", "));
    }
    Ok(all)
}

/// Returns the `name-version` and the licence of each crate from a registry.
fn crates(tree: &str) -> BTreeMap<String, String> {
    let row = |line: &str| {
        let (package, licence) = line.split_once('\t')?;
        let (name, version) = package.split_once(" v")?;
        // A crate of the workspace has its path after its version, and is left out.
        let version = version.trim_end_matches(" (*)").trim_end_matches(" (proc-macro)");
        (!version.contains('(')).then(|| (format!("{name}-{version}"), licence.trim_end_matches(" (*)").to_owned()))
    };
    tree.lines().filter_map(row).collect()
}

/// Returns the folders that cargo unpacks registry crates into.
fn sources() -> Result<Vec<PathBuf>, String> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let folder = home.ok_or("neither CARGO_HOME nor HOME is set")?.join("registry/src");
    files::list(&folder)
}

fn licence_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let is_licence = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        path.is_file() && ["LICEN", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|start| name.starts_with(start))
    };
    Ok(files::list(folder)?.into_iter().filter(is_licence).collect())
}

/// Normalises line ends, trailing spaces and surrounding blank lines, which differ between copies of a text.
fn normal(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crates_of_a_tree_are_listed_once() {
        let tree = "flowrl-cli v0.1.0 (/x/cli)\tMIT OR Apache-2.0\nanyhow v1.0.1\tMIT\nlibm v0.2.1\tMIT\n\
                    anyhow v1.0.1 (*)\tMIT\nclap_derive v4.6.7 (proc-macro)\tMIT";
        let names: Vec<_> = crates(tree).into_keys().collect();
        assert_eq!(names, ["anyhow-1.0.1", "clap_derive-4.6.7", "libm-0.2.1"]);
    }

    #[test]
    fn copies_of_a_text_are_one() {
        assert_eq!(normal("\nMIT \r\n\r\ntext\n\n"), normal("MIT\n\ntext"));
    }
}
