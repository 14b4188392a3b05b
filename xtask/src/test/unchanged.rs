//! Remembers which steps have passed with the present files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::command::{output, program};
use crate::files;

/// The folder of the marks. `cargo clean` removes it.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/passed");

/// Returns the path of the mark for a step that has passed, which has a hash of the compiler and of the inputs: paths
/// relative to the root of the workspace, separated by spaces. Returns None if git cannot list them.
pub(super) fn mark(step: &str, inputs: &str) -> Option<PathBuf> {
    let names: Vec<&str> = inputs.split(' ').chain(["rust-toolchain.toml"]).collect();
    let files = files::listed_by_git(&names)?.into_iter().map(|path| (std::fs::read(&path).ok(), path));
    Some(mark_of(step, output(program("rustc", &["-vV"])), files))
}

fn mark_of(step: &str, compiler: Option<String>, files: impl Iterator<Item = (Option<Vec<u8>>, PathBuf)>) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    compiler.hash(&mut hasher);
    files.for_each(|file| file.hash(&mut hasher));
    Path::new(FOLDER).join(format!("{step}-{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_the_step_the_compiler_and_every_file() {
        let mark = |step: &str, compiler: &str, files: &[(&str, &str)]| {
            let files = files.iter().map(|(name, text)| (Some(text.as_bytes().to_vec()), PathBuf::from(name)));
            mark_of(step, Some(compiler.to_owned()), files)
        };
        let one = mark("step", "1.95", &[("a", "text"), ("b", "")]);
        assert_eq!(mark("step", "1.95", &[("a", "text"), ("b", "")]), one);
        for other in [
            mark("other", "1.95", &[("a", "text"), ("b", "")]),
            mark("step", "1.96", &[("a", "text"), ("b", "")]),
            mark("step", "1.95", &[("a", "next"), ("b", "")]),
            mark("step", "1.95", &[("a", "text"), ("c", "")]),
            mark("step", "1.95", &[("a", "text")]),
        ] {
            assert_ne!(other, one);
        }
    }
}
