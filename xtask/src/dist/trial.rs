//! Runs both archives in a chroot without Rust, and compares their speed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use super::build::{DYNAMIC, FOLDER, STATIC};
use crate::command::{Outcome, output, printed, program, run as run_command};
use crate::cuda::stand_in::StandIn;
use crate::files::{absolute, copy, create, link, list, remove};
use crate::paired::{alternate, quartiles, show, warn_if_busy};

const RUNS: usize = 7;
const TRAIN_ON_GPU: &str = "train --device cuda --precision f32 --steps 1 --set train.prompts=2 --set train.samples=2 \
                            --set eval.prompts=2 --set eval.samples=2 --out";
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
        let path = absolute(Path::new(FOLDER).join("try").join(name))?;
        remove(&path)?;
        create(&path.join("tmp"))?;
        let archive = Path::new(FOLDER).join(archive);
        run_command(program("tar", &["--strip-components=1", "-xzf"]).arg(archive).arg("-C").arg(&path).arg(folder))?;
        Ok(Self { path })
    }

    /// Returns a command that runs the program in its new root, without our environment variables.
    fn program(&self, words: &[&str]) -> Command {
        let mut command = program("chroot", &[]);
        command.arg(&self.path).arg("/flowrl-cli").args(words);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Returns the error message of a command that must fail.
    fn refusal(&self, words: &[&str]) -> Result<String, String> {
        let result = self.program(words).output().map_err(|error| format!("cannot run chroot: {error}"))?;
        match result.status.code() {
            // `doctor` prints its message to stdout, the other commands to stderr.
            Some(1) => Ok(String::from_utf8_lossy(&[result.stdout, result.stderr].concat()).into_owned()),
            _ => Err(format!("`{}` ended with {}, wanted exit status 1", words.join(" "), result.status)),
        }
    }

    /// Copies the libraries that a file is linked to, to the same paths in the new root.
    fn take_libraries_of(&self, file: &Path) -> Outcome {
        let listed = printed(program("ldd", &[]).arg(file))?;
        let paths = listed.split_whitespace().filter(|word| word.starts_with('/'));
        paths.map(Path::new).filter(|path| path.is_file()).try_for_each(|path| copy(path, &self.at(path)))
    }

    fn at(&self, path: &Path) -> PathBuf {
        self.path.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// Trains on a simulated GPU: the stand-in replaces the driver and cuBLASLt, and NVRTC is NVIDIA's. The new root
    /// has no C++ compiler, so the kernels that the stand-in runs in the emulator are compiled outside and copied.
    fn with_stand_in(&self) -> Outcome {
        let stand_in = StandIn::build()?;
        let cache = absolute(Path::new(FOLDER).join("try/cache"))?;
        let words: Vec<&str> = TRAIN_ON_GPU.split_whitespace().collect();
        let outside = Path::new(FOLDER).join("try/run");
        remove(&outside)?;
        let mut command = stand_in.with(program(self.path.join("flowrl-cli"), &words))?;
        run_command(command.arg(outside).env("FLOWRL_CACHE_DIR", &cache))?;
        let made = [list(cache.join("emulator"))?, list(cache.join("kernels"))?].concat();
        for file in made.iter().filter(|path| path.is_file()) {
            copy(file, &self.at(file))?;
            if file.extension().is_some_and(|extension| extension == "so") {
                self.take_libraries_of(file)?;
            }
        }
        let libraries = Path::new("/usr/lib/x86_64-linux-gnu");
        for file in stand_in.libraries()? {
            let to = self.at(&libraries.join(file.file_name().unwrap_or_default()));
            // Links are kept, since the loader would take two copies of the stand-in for two libraries.
            match std::fs::read_link(&file) {
                Ok(target) => link(&target, &to)?,
                Err(_) => copy(&file, &to).and_then(|()| self.take_libraries_of(&file))?,
            }
        }
        let inside = |words: &[&str]| {
            let mut command = self.program(words);
            command.env("FLOWRL_CACHE_DIR", &cache).env("LD_LIBRARY_PATH", libraries);
            command
        };
        run_command(inside(&["doctor"]))?;
        run_command(inside(&words).arg("/tmp/run-cuda"))
    }
}

/// Times the default run with both programs in alternation.
fn speed(fixed: &Root, dynamic: &Root) -> Outcome {
    warn_if_busy();
    let seconds = |root: &Root| {
        remove(&root.path.join("tmp/run"))?;
        let start = Instant::now();
        printed(root.program(&TRAIN)).map(|_| [start.elapsed().as_secs_f64()])
    };
    let [pairs] = alternate(0, RUNS, Some(|| seconds(dynamic)), || seconds(fixed))?;
    println!("\n`flowrl-cli {}`, seconds: median [quartiles] of {RUNS} runs each, alternating", TRAIN.join(" "));
    println!("{:<28} {}", STATIC.target, show(quartiles(&pairs.theirs), 2));
    println!("{:<28} {}", DYNAMIC.target, show(quartiles(&pairs.ours), 2));
    println!("{:<28} {}", "ratio", pairs.ratio().map_or_else(String::new, |ratio| show(ratio, 2)));
    Ok(())
}
