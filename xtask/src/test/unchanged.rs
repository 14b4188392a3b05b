//! Remembers which steps have passed with the present files.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use crate::command::{output, program};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
/// The folder of the marks. `cargo clean` removes it.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/passed");

/// A hash of the compiler and of the files that a step depends on, as the path of a mark.
pub(super) struct State {
    mark: PathBuf,
}

impl State {
    /// Computes the state of a step from its inputs: paths relative to the root of the workspace, separated by spaces.
    /// Returns None if git cannot list them.
    pub(super) fn of(step: &str, inputs: &str) -> Option<Self> {
        let mut list = program("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]);
        let names = output(list.args(inputs.split(' ')).arg("rust-toolchain.toml").current_dir(ROOT))?;
        let files = names.split_terminator('\0').map(|name| (name, std::fs::read(Path::new(ROOT).join(name)).ok()));
        Some(Self::of_files(step, output(program("rustc", &["-vV"])), files))
    }

    fn of_files<'a>(
        step: &str,
        compiler: Option<String>,
        files: impl Iterator<Item = (&'a str, Option<Vec<u8>>)>,
    ) -> Self {
        let mut hasher = DefaultHasher::new();
        compiler.hash(&mut hasher);
        files.for_each(|file| file.hash(&mut hasher));
        Self { mark: Path::new(FOLDER).join(format!("{step}-{:016x}", hasher.finish())) }
    }

    pub(super) fn has_passed(&self) -> bool {
        self.mark.exists()
    }

    /// Writes the mark. Errors are ignored, since without a mark the step just runs again.
    pub(super) fn remember(&self) {
        let _ = std::fs::create_dir_all(FOLDER).and_then(|()| std::fs::write(&self.mark, ""));
    }

    #[cfg(test)]
    pub(super) fn forget(&self) {
        let _ = std::fs::remove_file(&self.mark);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_the_step_the_compiler_and_every_file() {
        let mark = |step: &str, compiler: &str, files: &[(&'static str, &str)]| {
            let files = files.iter().map(|&(name, text)| (name, Some(text.as_bytes().to_vec())));
            State::of_files(step, Some(compiler.to_owned()), files).mark
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
