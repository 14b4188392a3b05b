//! One of the archives: its build and its files.

use std::path::{Path, PathBuf};

use super::licences;
use crate::command::{printed, program, run};
use crate::files::{copy, copy_into, list, remove, write};

pub(super) const FOLDER: &str = "target/dist";
const SHELLS: [(&str, &str); 4] =
    [("bash", "flowrl-cli.bash"), ("elvish", "flowrl-cli.elv"), ("fish", "flowrl-cli.fish"), ("zsh", "_flowrl-cli")];

#[derive(Clone, Copy)]
pub(super) struct Build {
    pub(super) target: &'static str,
    /// The options that choose the features, for `cargo tree` as well as for the build.
    pub(super) features: &'static [&'static str],
    about: &'static str,
}

pub(super) const STATIC: Build = Build {
    target: "x86_64-unknown-linux-musl",
    features: &["--no-default-features", "--features", "tables"],
    about: "One static program for CPUs. It runs on any Linux, but cannot load CUDA's libraries.",
};
pub(super) const DYNAMIC: Build = Build {
    target: "x86_64-unknown-linux-gnu",
    features: &["--features", "tables"],
    about: "For CPUs and NVIDIA GPUs; `flowrl-cli doctor` says what a GPU needs. Requires glibc 2.28 or later.",
};

impl Build {
    pub(super) fn program(self) -> PathBuf {
        Path::new("target").join(self.target).join("release/flowrl-cli")
    }

    /// Returns the name of the folder in the archive, which is also the archive's name before `.tar.gz`.
    pub(super) fn name(self) -> String {
        format!("flowrl-cli-{}-{}", env!("CARGO_PKG_VERSION"), self.target)
    }

    /// Assembles the archive and returns its file name.
    pub(super) fn pack(self, man: &Path) -> Result<String, String> {
        let folder = Path::new(FOLDER).join(self.name());
        remove(&folder)?;
        copy(&self.program(), &folder.join("flowrl-cli"))?;
        copy_into(&folder, ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"])?;
        for (shell, file) in SHELLS {
            let script = printed(program(self.program(), &["completions", shell]))?;
            write(&folder.join("completions").join(file), &format!("{script}\n"))?;
        }
        copy_into(&folder.join("man"), list(man)?)?;
        write(&folder.join("THIRD-PARTY-LICENSES.txt"), &licences::of(self.target, self.features)?)?;
        write(&folder.join("README.md"), &self.readme())?;
        let archive = format!("{}.tar.gz", self.name());
        // With these options the archive depends only on its files, not on who packs them.
        let words = ["-C", FOLDER, "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-czf"];
        run(program("tar", &words).arg(Path::new(FOLDER).join(&archive)).arg(self.name()))?;
        Ok(archive)
    }

    fn readme(self) -> String {
        format!(
            "# flowrl-cli {}\n\n{}\n\n    ./flowrl-cli train        # the small model on Countdown, half a minute\n    \
             ./flowrl-cli --help\n\nman/ has a page for each command, completions/ has a script for each shell, and \
             THIRD-PARTY-LICENSES.txt has the licences of all linked code.\n",
            env!("CARGO_PKG_VERSION"),
            self.about
        )
    }
}
