//! `cargo xtask stand-in`: tests the GPU code with a stand-in for NVIDIA's driver and cuBLASLt. NVRTC is NVIDIA's own.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::args::Args;
use crate::bits::same;
use crate::command::{
    Check, Outcome, cargo_workspace, compile, output, printed, program, run as run_command, searched_first,
};
use crate::python::NVRTC;
use crate::{files, install};

const FOLDER: &str = "target/stand-in";
const PROGRAM: &str = "target/debug/flowrl-cli";
const LIBRARY: &str = "target/debug/libflowrl_cuda_stand_in.so";
/// The names of the stand-in. They are links to one file, so that the loader takes them for one library.
const NAMES: [&str; 4] = ["libcuda.so", "libcuda.so.1", "libcublasLt.so", "libcublasLt.so.12"];
/// The filter for tests of any crate that use a GPU, without the one that needs 5 GB.
const TESTS: [&str; 3] = ["on_gpu", "--skip", "last_row_beyond_32_bits"];
/// The options of the training run, which has few tokens because the emulator is slow.
const TRAINING: &str = "train --task countdown --precision f32 --steps 3 --seed 3 --json --set train.prompts=3 --set train.samples=4 \
                        --set eval.prompts=2 --set eval.samples=4 --set eval.every=100";

/// The keys of `run.json` that exist only for runs on a GPU.
const ORIGIN: [&str; 5] = ["gpu", "driver_cuda", "libcuda", "libnvrtc", "libcublasLt"];

/// The variable with the products that cuBLASLt should refuse.
const REFUSED: &str = "FLOWRL_STAND_IN_REFUSED";

pub(crate) fn run(args: Args) -> Outcome {
    args.finish()?;
    Ok(check()?)
}

pub(crate) fn check() -> Check {
    install::compiler()?;
    NVRTC.required()?;
    let stand_in = StandIn::build()?;
    println!("{}", stand_in.doctor(&[])?);
    run_command(stand_in.with(test(&["--lib", "--tests"], &TESTS))?)?;
    stand_in.other_gpus()?;
    stand_in.refusals()?;
    stand_in.training()?;
    println!("{}", stand_in.counts()?);
    Ok(())
}

/// The stand-in in a folder of its own, under the names that the loader looks for.
pub(crate) struct StandIn {
    folder: PathBuf,
    report: PathBuf,
}

impl StandIn {
    /// Builds the stand-in and removes the files of an earlier run.
    pub(crate) fn build() -> Result<Self, String> {
        // This builds all that the tests need. With other targets or fewer crates the features would differ, and
        // everything would be compiled again.
        compile(cargo_workspace("build", &["--lib", "--bins", "--tests"]))?;
        let root = files::absolute(FOLDER)?;
        let folder = root.join("lib");
        files::remove(&folder)?;
        files::copy(Path::new(LIBRARY), &folder.join(NAMES[0]))?;
        NAMES[1..].iter().try_for_each(|name| files::link(Path::new(NAMES[0]), &folder.join(name)))?;
        let report = root.join("counts.txt");
        let _ = std::fs::remove_file(&report);
        Ok(Self { folder, report })
    }

    /// Sets the environment in which a command finds the stand-in, and NVRTC in its virtual environment.
    pub(crate) fn with(&self, mut command: Command) -> Result<Command, String> {
        const VARIABLE: &str = "LD_LIBRARY_PATH";
        command.env(VARIABLE, searched_first(VARIABLE, &self.folder)?);
        command.env("VIRTUAL_ENV", files::absolute("target/venv-nvrtc")?);
        command.env_remove("CUDA_HOME").env_remove("CUDA_PATH");
        command.env("FLOWRL_STAND_IN_REPORT", &self.report);
        Ok(command)
    }

    /// Returns the paths of the stand-in under all its names, and those of NVRTC's libraries.
    pub(crate) fn libraries(&self) -> Result<Vec<PathBuf>, String> {
        let python = NVRTC.interpreter(None)?;
        let code = "import nvidia.cuda_nvrtc as wheel; print(list(wheel.__path__)[0])";
        let wheel = printed(program(&python, &["-c", code]))?;
        let mut paths = [files::list(&self.folder)?, files::list(Path::new(&wheel).join("lib"))?].concat();
        paths.retain(|path| path.to_string_lossy().contains(".so"));
        Ok(paths)
    }

    /// Returns the output of `doctor`, which must accept the simulated GPU. The variables change that GPU.
    fn doctor(&self, variables: &[(&str, &str)]) -> Result<String, String> {
        let mut command = self.with(program(PROGRAM, &["doctor"]))?;
        output(command.envs(variables.iter().copied()))
            .ok_or(format!("`flowrl-cli doctor` finds no usable GPU with {variables:?}"))
    }

    /// Runs the tests whose names contain one of the filters, with a variable of the stand-in.
    fn some_tests(&self, filters: &[&str], variable: &str, value: &str) -> Outcome {
        println!("with {variable}={value}");
        run_command(self.with(test(&["--test", "integration"], filters))?.env(variable, value))
    }

    /// Tests other GPUs: one with less shared memory, one without memory pools, one on a host that cannot pin memory,
    /// one with a driver too old for NVRTC's PTX, and one with a driver that loads only PTX.
    fn other_gpus(&self) -> Outcome {
        let heads = ["nvidia::on_gpu::every_gpu_takes_heads", "nvidia::on_gpu::heads"];
        self.some_tests(&heads, "FLOWRL_STAND_IN_CAPABILITY", "8.9")?;
        self.some_tests(&["nvidia::on_gpu"], "FLOWRL_STAND_IN_POOLS", "0")?;
        self.some_tests(&["nvidia::on_gpu::uploads", "nvidia::on_gpu::buffers"], "FLOWRL_STAND_IN_PINNED", "0")?;
        let (old, text_alone) = (("FLOWRL_STAND_IN_DRIVER", "12.4"), ("FLOWRL_STAND_IN_CUBINS", "0"));
        // The old driver still loads machine code.
        self.doctor(&[old])?;
        says(&self.doctor(&[text_alone])?, "the driver refuses NVRTC's machine code")?;
        match self.doctor(&[old, text_alone]) {
            Ok(text) => Err(format!("the driver accepts PTX that is too new for it:\n{text}")),
            Err(_) => Ok(()),
        }
    }

    /// Tests that products which cuBLASLt refuses are computed in another way, that `doctor` reports this, and that the
    /// numbers stay right, including those of training steps.
    fn refusals(&self) -> Outcome {
        const GOLDEN: [&str; 2] = ["hf_golden::on_gpu::log_probs", "hf_golden::on_gpu::a_training_step"];
        // These tests have tight tolerances, which hold unless partial sums are rounded.
        const EXACT: [&str; 4] = [GOLDEN[0], GOLDEN[1], "partition::on_gpu::network", "body::on_gpu::linear"];
        let refusals = [
            ("bias", "with the bias added by a kernel of FlowRL", &EXACT[..]),
            ("execution", "CUBLAS_STATUS_EXECUTION_FAILED", &EXACT[..]),
            ("odd", "by a kernel of FlowRL, slowly", &EXACT[..]),
            ("reductions", "with partial sums combined as the library chooses", &GOLDEN[..]),
            ("bias,reductions", "a kernel of FlowRL and partial sums combined as the library chooses", &GOLDEN[..]),
            ("everything", "by a kernel of FlowRL, slowly", &EXACT[..]),
        ];
        for (refused, told, tests) in refusals {
            says(&self.doctor(&[(REFUSED, refused)])?, told)?;
            self.some_tests(tests, REFUSED, refused)?;
        }
        Ok(())
    }

    /// Trains on the GPU and in the emulator. Kernels and products are the same, so every token must be the same. Only
    /// the GPU's `run.json` names a GPU and its libraries.
    fn training(&self) -> Outcome {
        let train = |device: &str, is_gpu: bool| {
            let out = Path::new(FOLDER).join("runs").join(device);
            files::remove(&out)?;
            let mut command = self.with(program(PROGRAM, &TRAINING.split_whitespace().collect::<Vec<_>>()))?;
            run_command(command.args(["--device", device, "--out"]).arg(&out).stdout(Stdio::null()))?;
            let story = files::read(out.join("run.json"))?;
            match ORIGIN.iter().find(|name| story.contains(&format!("\"{name}\": \"")) != is_gpu) {
                Some(name) => Err(format!("`{name}` is missing or unexpected in {}/run.json", out.display())),
                None => files::read(out.join("rollouts.jsonl")),
            }
        };
        same("--device cuda", &train("cuda", true)?, "--device emulated", &train("emulated", false)?)?;
        Ok(())
    }

    /// Returns the summed counts of all processes.
    fn counts(&self) -> Result<String, String> {
        let text = files::read(&self.report).map_err(|why| format!("no process used the GPU: {why}"))?;
        total(&text).ok_or(format!("{} cannot be read:\n{text}", self.report.display()))
    }
}

/// Returns an error unless the report of `doctor` contains this text.
fn says(report: &str, told: &str) -> Outcome {
    if report.contains(told) { Ok(()) } else { Err(format!("`flowrl-cli doctor` does not say `{told}`:\n{report}")) }
}

/// Returns a `cargo test` command for targets that [`StandIn::build`] has built.
fn test(targets: &[&str], words: &[&str]) -> Command {
    let mut command = cargo_workspace("test", targets);
    command.args(["--quiet", "--"]).args(words);
    command
}

/// Sums lines such as `3 launches, 1 copies`, which must all have the same names.
fn total(text: &str) -> Option<String> {
    let mut sums: Vec<(u64, &str)> = Vec::new();
    for line in text.lines() {
        for (i, count) in line.split(", ").enumerate() {
            let (count, name) = count.split_once(' ')?;
            let count = count.parse::<u64>().ok()?;
            match sums.get_mut(i) {
                Some(sum) => sum.0 += count,
                None => sums.push((count, name)),
            }
        }
    }
    let parts: Vec<String> = sums.iter().map(|(count, name)| format!("{count} {name}")).collect();
    (!parts.is_empty()).then(|| format!("on the stand-in, {} processes: {}", text.lines().count(), parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_processes_are_added() {
        let text = "3 launches, 1 copies\n40 launches, 20 copies\n";
        assert_eq!(total(text).unwrap(), "on the stand-in, 2 processes: 43 launches, 21 copies");
        assert_eq!(total(""), None);
        assert_eq!(total("no numbers\n"), None);
    }
}
