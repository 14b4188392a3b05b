//! Which steps have passed with the very files that are here now.

use crate::command::{output, program};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

/// Thrown away with everything else that was built.
const FOLDER: &str = "target/passed";

/// The files that a step depends on, and what compiles them, as the name of a mark.
pub(super) struct State {
    mark: PathBuf,
}

impl State {
    /// None where git cannot list the files.
    pub(super) fn of(step: &str, inputs: &[&str]) -> Option<Self> {
        let mut list = program("git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard", "--"]);
        list.args(inputs).arg("rust-toolchain.toml");
        let names = output(list)?;
        let mut hasher = DefaultHasher::new();
        output(program("rustc", &["-vV"])).hash(&mut hasher);
        for name in names.split_terminator('\0') {
            (name, std::fs::read(Path::new(name)).ok()).hash(&mut hasher);
        }
        Some(Self { mark: Path::new(FOLDER).join(format!("{step}-{:016x}", hasher.finish())) })
    }

    pub(super) fn has_passed(&self) -> bool {
        self.mark.exists()
    }

    /// Leaves the mark, if it can: without one the step just runs again.
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
    fn a_mark_is_of_the_files_and_the_step() {
        let mark = |step: &str, inputs: &[&str]| State::of(step, inputs).map(|state| state.mark);
        let Some(one) = mark("one", &["src"]) else {
            println!("skipped: git does not list these files");
            return;
        };
        assert_eq!(mark("one", &["src"]), Some(one.clone()));
        assert_ne!(mark("two", &["src"]), Some(one.clone()));
        assert_ne!(mark("one", &["src/main.rs"]), Some(one));
    }
}
