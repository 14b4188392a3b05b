//! `cargo xtask dist`: packs flowrl-cli as two archives that need no compiler.
//!
//! One program is static. It runs on any Linux, but only on CPUs, because it cannot load libraries. The other loads
//! CUDA's libraries and needs a glibc of at least [`GLIBC`].

mod licences;
mod trial;

use crate::command::{cargo, compile, output, program, run as run_command};
use crate::features::install_target;
use crate::files::{copy, list, remove, write};
use crate::python::ZIG;
use crate::{Args, Outcome, WORKSPACE};
use std::path::{Path, PathBuf};

const FOLDER: &str = "target/dist";
const STRIPPED: [&str; 4] = ["--release", "-p", "flowrl-cli", "--config=profile.release.strip='symbols'"];
/// The version in Debian 10 and Red Hat Enterprise Linux 8, the oldest systems that clusters still run.
const GLIBC: (u32, u32) = (2, 28);
const SHELLS: [(&str, &str); 4] =
    [("bash", "flowrl-cli.bash"), ("elvish", "flowrl-cli.elv"), ("fish", "flowrl-cli.fish"), ("zsh", "_flowrl-cli")];

/// One of the two archives.
#[derive(Clone, Copy)]
struct Build {
    target: &'static str,
    /// The options that choose the features, for `cargo tree` as well as for the build.
    features: &'static [&'static str],
    about: &'static str,
}

const STATIC: Build = Build {
    target: "x86_64-unknown-linux-musl",
    features: &["--no-default-features"],
    about: "One static program for CPUs. It runs on any Linux, but cannot load CUDA's libraries.",
};
const DYNAMIC: Build = Build {
    target: "x86_64-unknown-linux-gnu",
    features: &[],
    about: "For CPUs and NVIDIA GPUs; `flowrl-cli doctor` says what a GPU needs. Requires glibc 2.28 or later.",
};

/// Builds, packs and checks both archives. With `--try`, also runs them in a chroot and compares their speed.
pub(crate) fn run(mut args: Args) -> Outcome {
    let tried = args.flag("--try");
    args.finish()?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the archives can only be built on x86-64 Linux".to_owned());
    }
    install_target(STATIC.target)?;
    compile(cargo(&[&["build", "--target", STATIC.target], &STRIPPED[..], STATIC.features].concat()))?;
    compile(zigbuild()?)?;
    let man = man()?;
    let archives = [STATIC.pack(&man)?, DYNAMIC.pack(&man)?];
    is_static(&STATIC.program())?;
    is_old_enough(&DYNAMIC.program())?;
    let names = archives.each_ref().map(String::as_str);
    let sums = output_in(FOLDER, "sha256sum", &names)?;
    write(&Path::new(FOLDER).join("SHA256SUMS"), &format!("{sums}\n"))?;
    println!("\n{sums}");
    for name in names {
        println!("{:>10} bytes  {FOLDER}/{name}", size(&Path::new(FOLDER).join(name))?);
    }
    if tried { trial::run(&archives) } else { Ok(()) }
}

/// Returns the command that builds against [`GLIBC`]. Zig has the symbols of every glibc version, the system only its
/// own.
fn zigbuild() -> Result<std::process::Command, String> {
    let python = ZIG.interpreter(None)?;
    let folder = Path::new(&python).parent().unwrap_or(Path::new(".")).to_owned();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folder = std::path::absolute(folder).map_err(|error| format!("no path of {python}: {error}"))?;
    let path = std::env::join_paths(std::iter::once(folder.clone()).chain(std::env::split_paths(&path)));
    let target = format!("{}.{}.{}", DYNAMIC.target, GLIBC.0, GLIBC.1);
    let mut command = program(&folder.join("cargo-zigbuild").to_string_lossy(), &["zigbuild", "--target", &target]);
    command.args(STRIPPED).env("PATH", path.map_err(|error| format!("PATH: {error}"))?);
    Ok(command)
}

impl Build {
    fn program(self) -> PathBuf {
        Path::new("target").join(self.target).join("release/flowrl-cli")
    }

    /// Returns the name of the folder in the archive, which is also the archive's name before `.tar.gz`.
    fn name(self) -> String {
        format!("flowrl-cli-{}-{}", env!("CARGO_PKG_VERSION"), self.target)
    }

    /// Assembles the archive and returns its file name.
    fn pack(self, man: &Path) -> Result<String, String> {
        let folder = Path::new(FOLDER).join(self.name());
        remove(&folder)?;
        copy(&self.program(), &folder.join("flowrl-cli"))?;
        for licence in ["LICENSE-APACHE", "LICENSE-MIT", "CHANGELOG.md"] {
            copy(Path::new(licence), &folder.join(licence))?;
        }
        for (shell, file) in SHELLS {
            let script = program(&self.program().to_string_lossy(), &["completions", shell]);
            let script = output(script).ok_or_else(|| format!("flowrl-cli completions {shell} failed"))?;
            write(&folder.join("completions").join(file), &format!("{script}\n"))?;
        }
        for page in list(man)? {
            copy(&page, &folder.join("man").join(page.file_name().unwrap_or_default()))?;
        }
        write(&folder.join("THIRD-PARTY-LICENSES.txt"), &licences::of(self.target, self.features)?)?;
        write(&folder.join("README.md"), &self.readme())?;
        let archive = format!("{}.tar.gz", self.name());
        // With these options the archive depends only on its files, not on who packs them.
        let words = ["-C", FOLDER, "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime=@0", "-czf"];
        let mut tar = program("tar", &words);
        tar.arg(Path::new(FOLDER).join(&archive)).arg(self.name());
        run_command(tar)?;
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

/// Writes the manual pages and returns their folder. An example of the crate generates them, so that the program itself
/// does not contain the generator.
fn man() -> Result<PathBuf, String> {
    let folder = Path::new(FOLDER).join("man");
    remove(&folder)?;
    compile(cargo(&[&["build", "--example", "man"], &WORKSPACE[..]].concat()))?;
    run_command(program("target/debug/examples/man", &[&folder.to_string_lossy()]))?;
    Ok(folder)
}

fn is_static(path: &Path) -> Outcome {
    let headers = output_in(".", "objdump", &["-p", &path.to_string_lossy()])?;
    match headers.lines().find(|line| line.contains("NEEDED")) {
        Some(line) => Err(format!("{} is not static: {}", path.display(), line.trim())),
        None => Ok(()),
    }
}

fn is_old_enough(path: &Path) -> Outcome {
    let symbols = output_in(".", "objdump", &["-T", &path.to_string_lossy()])?;
    let newest = newest_glibc(&symbols).ok_or(format!("{} uses no symbol of glibc", path.display()))?;
    println!("{} needs glibc {}.{}", path.display(), newest.0, newest.1);
    if newest > GLIBC {
        let (major, minor) = newest;
        return Err(format!("{} needs glibc {major}.{minor}, newer than {}.{}", path.display(), GLIBC.0, GLIBC.1));
    }
    Ok(())
}

/// Returns the newest glibc version in the output of `objdump -T`.
fn newest_glibc(symbols: &str) -> Option<(u32, u32)> {
    let version = |rest: &str| {
        let (major, rest) = rest.split_once('.')?;
        let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    symbols.split("GLIBC_").skip(1).filter_map(version).max()
}

/// Runs a program in a folder and returns its output.
fn output_in(folder: &str, name: &str, words: &[&str]) -> Result<String, String> {
    let mut command = program(name, words);
    command.current_dir(folder);
    output(command).ok_or_else(|| format!("`{name} {}` failed; is it installed?", words.join(" ")))
}

fn size(path: &Path) -> Result<u64, String> {
    std::fs::metadata(path).map(|file| file.len()).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_is_found() {
        let symbols = "0000 DF *UND* 0000 (GLIBC_2.2.5) memcpy\n0000 DF *UND* 0000 (GLIBC_2.28) fcntl64\n\
                       0000 DF *UND* 0000 (GLIBC_2.9) pipe2\n0000 DF *UND* 0000 (GCC_3.0) _Unwind_Resume";
        assert_eq!(newest_glibc(symbols), Some((2, 28)));
        assert_eq!(newest_glibc("nothing"), None);
    }
}
