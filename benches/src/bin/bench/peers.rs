//! `bench peers`: compares every case with PyTorch.

use std::process::Command;

use flowrl_benches::Failure;
use flowrl_benches::args::{Args, choose};
use flowrl_benches::cases::MODEL;
use flowrl_benches::paired::{alternate, warn_if_busy};
use flowrl_benches::peer::Peer;
use flowrl_benches::report::{Timing, header, machine, versions, write_json};

use crate::{ourselves, script};

/// Threads of each side.
pub(crate) const THREADS: usize = 2;

/// A comparison: the name of our case, and the peer's script with its arguments.
struct Comparison {
    name: &'static str,
    ours: &'static str,
    script: &'static str,
    words: &'static [&'static str],
}

const fn case(
    name: &'static str,
    ours: &'static str,
    script: &'static str,
    words: &'static [&'static str],
) -> Comparison {
    Comparison { name, ours, script, words }
}

const COMPARISONS: [Comparison; 8] = [
    case("objective", "objective/paper/512x8192", "objective.py", &[]),
    case("partition-896", "partition/896", "partition.py", &["896"]),
    case("partition-1536", "partition/1536", "partition.py", &["1536"]),
    case("partition-3584", "partition/3584", "partition.py", &["3584"]),
    case("logprob", "log-prob/512x32000", "logprob.py", &[]),
    case("train_step", "random/train-step", "train_step.py", &[MODEL]),
    case("generate", "random/generate", "generate.py", &[MODEL]),
    case("generate-transformers", "random/generate", "generate_transformers.py", &[MODEL]),
];

pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let cases = choose(&COMPARISONS, |case| case.name, &args.values("--case")?, "--case: unknown case")?;
    let alone = args.flag("--alone");
    let (warm, runs) = (args.value("--warm")?.unwrap_or(5), args.count("--runs", 21)?);
    let (json, python): (Option<String>, Option<String>) = (args.value("--json")?, args.value("--python")?);
    args.finish()?;
    let python = python.ok_or("--python PATH is missing")?;
    let machine = format!(
        "{}; {}; {THREADS} threads for each side, f32",
        machine(),
        versions(&python, &["torch", "transformers"])
    );
    println!("\n{machine}\n{warm} pairs of turns discarded, {runs} kept\n");
    warn_if_busy();
    println!("{}", header());
    let mut timings = Vec::new();
    for Comparison { name, ours, script: file, words } in cases {
        let failed = |side: &str, why| format!("{name}, {side}: {why}");
        let start = |mut command: Command, side| {
            command.env("RAYON_NUM_THREADS", THREADS.to_string()).env("PEER_THREADS", THREADS.to_string());
            Peer::start(command).map_err(|why| failed(side, why))
        };
        let turn = |peer: &mut Peer, side| match peer.turn() {
            Ok(seconds) => Ok([seconds]),
            Err(why) => Err(failed(side, why)),
        };
        let mut ours = match alone {
            true => None,
            false => Some(start(ourselves(&["serve", ours])?, "our side")?),
        };
        let mut theirs = start(script(&python, file, words), file)?;
        let ours = ours.as_mut().map(|ours| || turn(ours, "our side"));
        let [seconds] = alternate(warm, runs, ours, || turn(&mut theirs, file))?;
        let timing = Timing { case: (*name).to_owned(), seconds };
        println!("{}", timing.row());
        timings.push(timing);
    }
    Ok(write_json(json.as_deref(), &machine, &timings)?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use flowrl_benches::cases::CASES;

    use super::*;

    #[test]
    fn every_comparison_has_its_case_and_its_script() {
        for Comparison { name, ours, script, .. } in &COMPARISONS {
            assert!(CASES.iter().any(|case| case.name == *ours), "{name}");
            assert!(Path::new(crate::SCRIPTS).join(script).is_file(), "{name}");
        }
        assert!(Path::new(MODEL).is_file());
    }
}
