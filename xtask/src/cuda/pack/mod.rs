//! `cargo xtask gpu`: packs all that a machine with a GPU needs to test and measure flowrl-cuda into one archive.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::args::Args;
use crate::command::{Outcome, cargo, output, program, run as run_command};
use crate::files::{bytes, copy_into, create, list, remove, write};
use crate::python;

const FOLDER: &str = "target/gpu/flowrl-gpu";
const ARCHIVE: &str = "target/gpu/flowrl-gpu.tar.gz";
/// Largest size of the archive. With the results of a run, it must fit into the 64 MiB to which some remote machines
/// limit transfers.
const LIMIT: usize = 60 << 20;
/// The folders that tests and the benchmark read. They have the same paths relative to the crates' folders as here.
const DATA: [&str; 2] = ["tests/golden", "benches/peers"];
/// A peer that machines with PyTorch seldom have. It is 0.9 MB of Python under the BSD 2-Clause licence, which is
/// packed with it.
const LIGER: &str = "liger-kernel==0.8.5";

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    let folder = Path::new(FOLDER);
    remove(folder)?;
    let strip = ["--release", "--config", "profile.release.strip='symbols'"];
    let build = |words: &[&str]| executables(&[words, &strip].concat());
    copy_into(&folder.join("bin"), build(&["build", "-p", "flowrl-cli", "--bin", "flowrl-cli"])?)?;
    // Tests go into a folder with the name of their crate's folder, since they run from there.
    let mut tests = build(&["test", "-p", "flowrl-cuda", "--tests", "--no-run"])?;
    tests.retain(|path| output(program(path, &["--list"])).is_some_and(|tests| tests.contains("on_gpu")));
    copy_into(&folder.join("bin/tests/cuda"), tests)?;
    let golden = build(&["test", "-p", "flowrl-tests", "--test", "integration", "--no-run"])?;
    copy_into(&folder.join("bin/tests/tests"), golden)?;
    copy_into(&folder.join("bin/benches"), build(&["build", "-p", "flowrl-cuda", "--benches"])?)?;
    for data in DATA {
        let to = folder.join(data);
        create(to.parent().unwrap_or(&to))?;
        run_command(program("cp", &["-R", data]).arg(to))?;
    }
    take_liger(&folder.join("python"));
    write(&folder.join("run.sh"), include_str!("run.sh"))?;
    run_command(program("chmod", &["+x", &format!("{FOLDER}/run.sh")]))?;
    run_command(program("tar", &["-C", "target/gpu", "-czf", ARCHIVE, "flowrl-gpu"]))?;
    report(folder)
}

/// Downloads Liger into the archive. If that fails, the benchmark reports its rows as absent.
fn take_liger(folder: &Path) {
    let folder = folder.to_string_lossy();
    let words = ["-m", "pip", "install", "--no-deps", "--no-compile", "--quiet", "--target", &folder, LIGER];
    let taken = python::system()
        .ok_or("python3 is not installed".to_owned())
        .and_then(|python| run_command(program(python, &words)));
    if let Err(why) = taken {
        println!("{LIGER} is not packed: {why}");
    }
}

fn report(folder: &Path) -> Outcome {
    let mut newest = None;
    for part in ["bin", "bin/tests/cuda", "bin/tests/tests", "bin/benches"] {
        for path in list(folder.join(part))?.into_iter().filter(|path| path.is_file()) {
            let bytes = bytes(&path)?;
            newest = newest.max(glibc(&bytes));
            println!("{:>10} bytes  {}", bytes.len(), path.display());
        }
    }
    let size = bytes(ARCHIVE)?.len();
    let (major, minor) = newest.unwrap_or_default();
    println!(
        "{ARCHIVE}: {:.1} MiB; needs Linux on {} with glibc {major}.{minor} or later",
        size as f64 / (1 << 20) as f64,
        std::env::consts::ARCH
    );
    println!("On that machine, run: tar -xzf flowrl-gpu.tar.gz && flowrl-gpu/run.sh");
    if size > LIMIT {
        return Err(format!("{ARCHIVE} has {size} bytes, more than {LIMIT}"));
    }
    Ok(())
}

/// Runs cargo and returns the executables that its messages name.
fn executables(words: &[&str]) -> Result<Vec<PathBuf>, String> {
    println!("$ cargo {}", words.join(" "));
    let mut command = cargo(words);
    let result =
        command.arg("--message-format=json-render-diagnostics").stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let result = result.map_err(|error| format!("cannot run cargo: {error}"))?;
    if !result.status.success() {
        return Err(format!("`cargo {}` ended with {}", words.join(" "), result.status));
    }
    Ok(named(&String::from_utf8_lossy(&result.stdout)))
}

fn named(messages: &str) -> Vec<PathBuf> {
    let path = |line: &str| line.split_once("\"executable\":\"")?.1.split('"').next().map(PathBuf::from);
    messages.lines().filter_map(path).collect()
}

/// Returns the newest glibc version whose symbols an executable uses, as (2, minor).
pub(crate) fn glibc(bytes: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_2.";
    let minors = bytes.windows(MARK.len() + 2).filter(|window| window.starts_with(MARK)).map(|window| {
        let digits = window[MARK.len()..].iter().take_while(|byte| byte.is_ascii_digit());
        digits.fold(0, |number, digit| 10 * number + u32::from(digit - b'0'))
    });
    minors.max().map(|minor| (2, minor))
}

#[cfg(all(test, unix))]
mod run_script;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executables_are_read_from_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","executable":null,"fresh":true}
{"reason":"compiler-artifact","filenames":["/t/x"],"executable":"/t/x-1","fresh":true}
{"reason":"build-finished","success":true}"#;
        assert_eq!(named(messages), [PathBuf::from("/t/x-1")]);
    }

    #[test]
    fn the_newest_glibc_is_found() {
        assert_eq!(glibc(b"..GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0"), Some((2, 34)));
        assert_eq!(glibc(b"static"), None);
    }
}
