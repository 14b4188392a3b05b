//! Runs both archives in a chroot without Rust, and compares their speed.

use super::{DYNAMIC, FOLDER, STATIC};
use crate::Outcome;
use crate::command::{output, program, run as run_command};
use crate::cuda::stand_in::StandIn;
use crate::files::{copy, list};
use crate::stats::quartiles;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const RUNS: usize = 7;
const TRAIN: [&str; 5] = ["train", "--steps", "20", "--out", "/tmp/run"];

pub(super) fn run(archives: &[String; 2]) -> Outcome {
    if output(program("id", &["-u"])).as_deref() != Some("0") {
        return Err("--try changes the root of the file system, which only root may".to_owned());
    }
    let [fixed, dynamic] =
        [Root::new("musl", &archives[0], &STATIC.name())?, Root::new("gnu", &archives[1], &DYNAMIC.name())?];
    println!("\n=== the static program in an empty root");
    run_command(fixed.program(&TRAIN))?;
    for words in [&["doctor"][..], &["train", "--device", "cuda"], &["train", "--device", "emulated"]] {
        let said = fixed.refusal(words)?;
        println!("$ flowrl-cli {}\n{said}", words.join(" "));
        if !said.contains(DYNAMIC.target) {
            return Err(format!("the message of `{}` does not name the other archive", words.join(" ")));
        }
    }
    println!("\n=== the dynamic program, with glibc");
    dynamic.take_libraries_of(&dynamic.path.join("flowrl-cli"))?;
    run_command(dynamic.program(&TRAIN))?;
    dynamic.with_stand_in()?;
    speed(&fixed, &dynamic)
}

/// A folder that serves as the root of the file system.
struct Root {
    path: PathBuf,
}

impl Root {
    fn new(name: &str, archive: &str, folder: &str) -> Result<Self, String> {
        let path = std::path::absolute(Path::new(FOLDER).join("try").join(name)).map_err(|error| error.to_string())?;
        let put = || {
            if path.exists() {
                std::fs::remove_dir_all(&path)?;
            }
            std::fs::create_dir_all(path.join("tmp"))
        };
        put().map_err(|error| format!("cannot create {}: {error}", path.display()))?;
        let mut tar = program("tar", &["--strip-components=1", "-xzf"]);
        tar.arg(Path::new(FOLDER).join(archive)).arg("-C").arg(&path).arg(folder);
        run_command(tar)?;
        Ok(Self { path })
    }

    /// Returns a command that runs the program in its new root, without our environment variables.
    fn program(&self, words: &[&str]) -> Command {
        let mut command = program("chroot", &[&self.path.to_string_lossy(), "/flowrl-cli"]);
        command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Returns the error message of a command that must fail.
    fn refusal(&self, words: &[&str]) -> Result<String, String> {
        let result = self.program(words).output().map_err(|error| format!("cannot run chroot: {error}"))?;
        match result.status.code() {
            // `doctor` prints its message to stdout, the other commands to stderr.
            Some(1) => {
                Ok([result.stdout, result.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat())
            }
            _ => Err(format!("`{}` ended with {}, wanted exit status 1", words.join(" "), result.status)),
        }
    }

    /// Copies the libraries that a file is linked to, to the same paths in the new root.
    fn take_libraries_of(&self, file: &Path) -> Outcome {
        let listed = output(program("ldd", &[&file.to_string_lossy()])).ok_or("ldd failed")?;
        let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
        paths.map(Path::new).filter(|path| path.is_file()).try_for_each(|path| self.take(path, path))
    }

    /// Copies a file to a path of the new root.
    fn take(&self, file: &Path, to: &Path) -> Outcome {
        copy(file, &self.path.join(to.strip_prefix("/").unwrap_or(to)))
    }

    /// Makes a symbolic link at a path of the new root.
    fn link(&self, target: &Path, path: &Path) -> Outcome {
        let path = self.path.join(path.strip_prefix("/").unwrap_or(path));
        crate::cuda::stand_in::link(target, &path).map_err(|error| format!("cannot create {}: {error}", path.display()))
    }

    /// Trains on a simulated GPU: the stand-in replaces the driver and cuBLASLt, and NVRTC is NVIDIA's. The new root
    /// has no C++ compiler, so the kernels that the stand-in runs in the emulator are compiled outside and copied.
    fn with_stand_in(&self) -> Outcome {
        let stand_in = StandIn::build()?;
        let cache = std::path::absolute(Path::new(FOLDER).join("try/cache")).map_err(|error| error.to_string())?;
        let words =
            ["train", "--device", "cuda", "--precision", "f32", "--steps", "1", "--set", "train.prompts=2", "--set"];
        let words =
            [&words[..], &["train.samples=2", "--set", "eval.prompts=2", "--set", "eval.samples=2", "--out"]].concat();
        let outside = Path::new(FOLDER).join("try/run");
        let _ = std::fs::remove_dir_all(&outside);
        let mut command = stand_in.with(program(&self.path.join("flowrl-cli").to_string_lossy(), &words))?;
        command.arg(outside).env("FLOWRL_CACHE_DIR", &cache);
        run_command(command)?;
        for file in
            list(&cache.join("emulator"))?.iter().chain(&list(&cache.join("kernels"))?).filter(|path| path.is_file())
        {
            self.take(file, file)?;
            if file.extension().is_some_and(|extension| extension == "so") {
                self.take_libraries_of(file)?;
            }
        }
        let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
        for file in stand_in.libraries()? {
            let to = libraries.join(file.file_name().unwrap_or_default());
            // Links are kept, since the loader would take two copies of the stand-in for two libraries.
            match std::fs::read_link(&file) {
                Ok(target) => self.link(&target, &to)?,
                Err(_) => self.take(&file, &to).and_then(|()| self.take_libraries_of(&file))?,
            }
        }
        let inside = |words: &[&str]| {
            let mut command = self.program(words);
            command.env("FLOWRL_CACHE_DIR", &cache).env("LD_LIBRARY_PATH", libraries);
            command
        };
        run_command(inside(&["doctor"]))?;
        run_command(inside(&[&words[..], &["/tmp/run-cuda"]].concat()))
    }
}

/// Times the default run with both programs in alternation.
fn speed(fixed: &Root, dynamic: &Root) -> Outcome {
    crate::machine::warn_if_busy();
    let seconds = |root: &Root| {
        let _ = std::fs::remove_dir_all(root.path.join("tmp/run"));
        let start = Instant::now();
        output(root.program(&TRAIN)).ok_or("a run failed").map(|_| start.elapsed().as_secs_f64())
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        a.push(seconds(fixed)?);
        b.push(seconds(dynamic)?);
    }
    let ratios: Vec<f64> = a.iter().zip(&b).map(|(a, b)| a / b).collect();
    println!("\n`flowrl-cli {}`, seconds: median (quartiles) of {RUNS} runs each, alternating", TRAIN.join(" "));
    for (name, values) in [(STATIC.target, a), (DYNAMIC.target, b), ("ratio", ratios)] {
        let [low, median, high] = quartiles(&values);
        println!("{name:<28} {median:.2} ({low:.2} to {high:.2})");
    }
    Ok(())
}
