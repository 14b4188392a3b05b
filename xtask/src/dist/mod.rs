//! `cargo xtask dist`: packs flowrl-cli as two archives that need no compiler.
//!
//! One program is static. It runs on any Linux, but only on CPUs, because it cannot load libraries. The other loads
//! CUDA's libraries and needs a glibc of at least [`GLIBC`].

mod build;
mod licences;
mod trial;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Args;
use crate::command::{Outcome, cargo, cargo_workspace, compile, printed, program, run as run_command, searched_first};
use crate::cuda::pack::glibc;
use crate::files::{absolute, bytes, remove, write};
use crate::install;
use crate::python::ZIG;
use build::{DYNAMIC, FOLDER, STATIC};

const STRIPPED: [&str; 4] = ["--release", "-p", "flowrl-cli", "--config=profile.release.strip='symbols'"];
/// The version in Debian 10 and Red Hat Enterprise Linux 8, the oldest systems that clusters still run.
const GLIBC: (u32, u32) = (2, 28);

pub(crate) fn run(mut args: Args) -> Outcome {
    let tried = args.flag("--try");
    args.finish()?;
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err("the archives can only be built on x86-64 Linux".to_owned());
    }
    install::target(STATIC.target)?;
    compile(cargo(&["build", "--target", STATIC.target]).args(STRIPPED).args(STATIC.features))?;
    compile(zigbuild()?)?;
    let man = man()?;
    let archives = [STATIC.pack(&man)?, DYNAMIC.pack(&man)?];
    is_static(&STATIC.program())?;
    is_old_enough(&DYNAMIC.program())?;
    let names = archives.each_ref().map(String::as_str);
    let sums = printed(program("sha256sum", &names).current_dir(FOLDER))?;
    write(&Path::new(FOLDER).join("SHA256SUMS"), &format!("{sums}\n"))?;
    println!("\n{sums}");
    for name in names {
        println!("{:>10} bytes  {FOLDER}/{name}", bytes(Path::new(FOLDER).join(name))?.len());
    }
    if tried { trial::run(&archives) } else { Ok(()) }
}

/// Returns the command that builds against [`GLIBC`]. Zig has the symbols of every glibc version, the system only its
/// own.
fn zigbuild() -> Result<Command, String> {
    ZIG.required()?;
    let python = absolute(ZIG.interpreter(None)?)?;
    let zig = python.with_file_name("cargo-zigbuild");
    let path = searched_first("PATH", python.parent().unwrap_or(&python))?;
    let target = format!("{}.{}.{}", DYNAMIC.target, GLIBC.0, GLIBC.1);
    let mut command = program(zig, &["zigbuild", "--target", &target]);
    command.args(STRIPPED).args(DYNAMIC.features).env("PATH", path);
    Ok(command)
}

/// Writes the manual pages and returns their folder. An example of the crate generates them, so that the program itself
/// does not contain the generator.
fn man() -> Result<PathBuf, String> {
    let folder = Path::new(FOLDER).join("man");
    remove(&folder)?;
    compile(cargo_workspace("build", &["--example", "man"]))?;
    run_command(program("target/debug/examples/man", &[]).arg(&folder))?;
    Ok(folder)
}

fn is_static(path: &Path) -> Outcome {
    let headers = printed(program("objdump", &["-p"]).arg(path))?;
    match headers.lines().find(|line| line.contains("NEEDED")) {
        Some(line) => Err(format!("{} is not static: {}", path.display(), line.trim())),
        None => Ok(()),
    }
}

fn is_old_enough(path: &Path) -> Outcome {
    let (major, minor) = glibc(&bytes(path)?).ok_or(format!("{} uses no symbol of glibc", path.display()))?;
    println!("{} needs glibc {major}.{minor}", path.display());
    if (major, minor) > GLIBC {
        return Err(format!("{} needs glibc {major}.{minor}, newer than {}.{}", path.display(), GLIBC.0, GLIBC.1));
    }
    Ok(())
}
