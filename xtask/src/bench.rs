//! `cargo xtask bench`: criterion benchmarks, or every case compared with PyTorch.

use crate::command::{cargo, program, run as run_command};
use crate::peers::{self, Peer};
use crate::{Args, Outcome, machine, python};
use std::process::Command;

/// A case of the comparison, with the arguments of our program, and the script of the peer with its arguments.
struct Case {
    name: &'static str,
    ours: &'static [&'static str],
    script: &'static [&'static str],
}

const FOLDER: &str = "benches/peers";
const OUR_PROGRAM: &str = "target/release/peer";
const MODEL: &str = "benches/peers/model.json";
const THREADS: &str = "2";

const CASES: &[Case] = &[
    Case { name: "objective", ours: &["objective"], script: &["objective.py"] },
    Case { name: "partition-896", ours: &["partition", "896"], script: &["partition.py", "896"] },
    Case { name: "partition-1536", ours: &["partition", "1536"], script: &["partition.py", "1536"] },
    Case { name: "partition-3584", ours: &["partition", "3584"], script: &["partition.py", "3584"] },
    Case { name: "logprob", ours: &["logprob"], script: &["logprob.py"] },
    Case { name: "train_step", ours: &["train_step", MODEL], script: &["train_step.py", MODEL] },
    Case { name: "generate", ours: &["generate", MODEL], script: &["generate.py", MODEL] },
    Case { name: "generate-transformers", ours: &["generate", MODEL], script: &["generate_transformers.py", MODEL] },
];

/// Options of the comparison.
struct Options {
    alone: bool,
    warm: usize,
    runs: usize,
    json: Option<String>,
    python: Option<String>,
}

/// Runs the criterion benchmarks, or with `--peers` the comparison.
pub(crate) fn run(mut args: Args) -> Outcome {
    if !args.flag("--peers") {
        let filter = args.words();
        args.finish()?;
        let mut command = cargo(&["bench", "-p", "flowrl-benches", "--benches", "--"]);
        command.args(filter);
        return run_command(command);
    }
    let cases = choose(&args.values("--case")?)?;
    let options = Options {
        alone: args.flag("--alone"),
        warm: args.value("--warm")?.unwrap_or(5),
        runs: args.value("--runs")?.unwrap_or(21),
        json: args.value("--json")?,
        python: args.value("--python")?,
    };
    args.finish()?;
    if options.runs == 0 {
        return Err("--runs: got 0, wanted at least 1".to_owned());
    }
    compare(&cases, &options)
}

fn choose(names: &[String]) -> Result<Vec<&'static Case>, String> {
    if let Some(unknown) = names.iter().find(|name| CASES.iter().all(|case| case.name != name.as_str())) {
        let known: Vec<_> = CASES.iter().map(|case| case.name).collect();
        return Err(format!("--case: unknown case `{unknown}`: expected one of {}", known.join(", ")));
    }
    Ok(CASES.iter().filter(|case| names.is_empty() || names.iter().any(|name| name == case.name)).collect())
}

fn compare(cases: &[&Case], options: &Options) -> Outcome {
    let python = python::TORCH.interpreter(options.python.clone())?;
    if !options.alone {
        run_command(cargo(&["build", "--release", "-p", "flowrl-benches", "--bin", "peer"]))
            .map_err(|why| format!("{why}; --alone times only the peers"))?;
    }
    let machine = machine::describe(&python, "torch, transformers");
    let machine = format!("{machine}; {THREADS} threads for each side, f32");
    println!("\n{machine}\n{} pairs of turns discarded, {} kept\n", options.warm, options.runs);
    machine::warn_if_busy();
    println!("{}", peers::header());
    let mut timings = Vec::new();
    for case in cases {
        let ours = match options.alone {
            true => None,
            false => Some(Peer::start(case.name, ours(case))?),
        };
        let theirs = Peer::start(case.script[0], theirs(case, &python))?;
        let timing = peers::alternate(case.name, ours, theirs, options.warm, options.runs)?;
        println!("{}", timing.row());
        timings.push(timing);
    }
    match &options.json {
        Some(path) => peers::write_json(path, &machine, &timings),
        None => Ok(()),
    }
}

fn ours(case: &Case) -> Command {
    let mut command = program(OUR_PROGRAM, case.ours);
    command.env("RAYON_NUM_THREADS", THREADS);
    command
}

fn theirs(case: &Case, python: &str) -> Command {
    let mut command = program(python, &[&format!("{FOLDER}/{}", case.script[0])]);
    command.args(&case.script[1..]).env("PEER_THREADS", THREADS).env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_case_has_its_script() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for case in CASES {
            assert!(root.join(FOLDER).join(case.script[0]).is_file(), "{}", case.name);
        }
        assert!(root.join(MODEL).is_file());
    }

    #[test]
    fn cases_are_chosen_by_name() {
        assert_eq!(choose(&[]).map(|cases| cases.len()), Ok(CASES.len()));
        assert!(choose(&["speed".to_owned()]).is_err_and(|why| why.contains("`speed`") && why.contains("logprob")));
    }
}
