//! `cargo xtask publish`: checks the packages that crates.io would get. Nothing is uploaded.

use std::path::Path;
use std::process::Command;

use crate::args::Args;
use crate::command::{Outcome, cargo, program, run as run_command};
use crate::files;

const TARGET_FOLDER: &str = "target/publish";
/// The folder in which `cargo publish --dry-run` leaves the archives.
const ARCHIVES: &str = "target/publish/package/tmp-crate";
/// The workspace of the unpacked packages.
const UNPACKED: &str = "target/publish/unpacked";

/// Packs every crate that may be published and builds it from its package, runs the doctests of the packages against
/// each other, and prints their sizes.
pub(crate) fn run(mut args: Args) -> Outcome {
    let allowed = args.flag("--allow-dirty").then_some("--allow-dirty");
    args.finish()?;
    // Archives of earlier versions would be taken for packages of this one.
    for folder in [ARCHIVES, UNPACKED] {
        files::remove(Path::new(folder))?;
    }
    files::create(Path::new(UNPACKED))?;
    run_command(lean(&["publish", "--workspace", "--dry-run"]).args(allowed))?;
    let archives = files::with_extension(ARCHIVES, "crate")?;
    archives.iter().try_for_each(|path| run_command(program("tar", &["-C", UNPACKED, "-xzf"]).arg(path)))?;
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names: Vec<String> = archives.iter().map(|path| name(path)).collect();
    let manifest = Path::new(UNPACKED).join("Cargo.toml");
    files::write(&manifest, &workspace(&names))?;
    // The dependencies have the same versions as here.
    files::copy(Path::new("Cargo.lock"), &manifest.with_extension("lock"))?;
    run_command(lean(&["test", "--doc", "--workspace", "--all-features", "--manifest-path"]).arg(&manifest))?;
    println!("\n{:<20} {:>6} {:>12}", "package", "files", "bytes packed");
    for (archive, name) in archives.iter().zip(&names) {
        let (files, bytes) = (count(&Path::new(UNPACKED).join(name))?, files::bytes(archive)?.len());
        println!("{name:<20} {files:>6} {bytes:>12}");
    }
    Ok(())
}

/// Returns a command for cargo that builds in a folder of its own, without debug information.
fn lean(words: &[&str]) -> Command {
    let mut command = cargo(words);
    command.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_TARGET_DIR", TARGET_FOLDER);
    command
}

/// Returns the manifest of a workspace in which unpacked packages replace those of crates.io.
fn workspace(folders: &[String]) -> String {
    let mut text = format!("[workspace]\nresolver = \"3\"\nmembers = {folders:?}\n\n[patch.crates-io]\n");
    for folder in folders {
        let name = folder.strip_suffix(concat!("-", env!("CARGO_PKG_VERSION"))).unwrap_or(folder);
        text += &format!("{name} = {{ path = {folder:?} }}\n");
    }
    text
}

/// Returns the number of files in a folder and the folders in it.
fn count(folder: &Path) -> Result<usize, String> {
    files::list(folder)?.iter().try_fold(0, |sum, path| Ok(sum + if path.is_dir() { count(path)? } else { 1 }))
}

#[cfg(test)]
mod tests {
    #[test]
    fn packages_replace_those_of_the_registry() {
        let folder = concat!("flowrl-core-", env!("CARGO_PKG_VERSION")).to_owned();
        let text = super::workspace(std::slice::from_ref(&folder));
        assert!(text.contains(&format!("members = [\"{folder}\"]")), "{text}");
        assert!(text.ends_with(&format!("flowrl-core = {{ path = \"{folder}\" }}\n")), "{text}");
    }
}
