//! `cargo xtask objectives`: the table of the README, every objective over several seeds on the built-in task.

use crate::command::{cargo, run};
use crate::{Args, Outcome};
use std::path::Path;

const OBJECTIVES: [&str; 6] = ["exact-tb", "paper", "vargrad", "grpo", "reinforce++", "ppo"];

/// Trains each objective with seeds 0 to N − 1, two runs at a time, then compares the runs. A run that is there already, from
/// an interrupted call, is kept.
pub(crate) fn objectives(mut args: Args) -> Outcome {
    let seeds: u64 = args.value("--seeds")?.unwrap_or(5);
    let steps: Option<u64> = args.value("--steps")?;
    args.finish()?;
    run(cargo(&["build", "--release", "-p", "flowrl-cli"]))?;
    let folder = Path::new("target/objectives");
    let mut runs = Vec::new();
    for seed in 0..seeds {
        for objective in OBJECTIVES {
            runs.push((objective, seed, folder.join(format!("{objective}-seed{seed}"))));
        }
    }
    let program = Path::new("target/release/flowrl-cli");
    for pair in runs.chunks(2) {
        let mut children = Vec::new();
        for (objective, seed, out) in pair {
            if out.join("report.html").exists() {
                continue;
            }
            if out.exists() {
                std::fs::remove_dir_all(out).map_err(|e| format!("cannot remove {}: {e}", out.display()))?;
            }
            println!("{}", out.display());
            let mut command = std::process::Command::new(program);
            command.args(["train", "--objective", objective, "--threads", "1", "--json"]);
            command.args(["--seed", &seed.to_string()]).arg("--out").arg(out);
            if let Some(steps) = steps {
                command.args(["--steps", &steps.to_string()]);
            }
            let child = command.stdout(std::process::Stdio::null()).spawn();
            children.push(child.map_err(|e| format!("cannot run {}: {e}", program.display()))?);
        }
        for mut child in children {
            let status = child.wait().map_err(|e| e.to_string())?;
            if !status.success() {
                return Err(format!("a run ended with {status}"));
            }
        }
    }
    let mut compare = std::process::Command::new(program);
    compare.args(["compare", "--out", "target/objectives/compare.html"]);
    compare.args(runs.iter().map(|(_, _, out)| out));
    run(compare)
}
