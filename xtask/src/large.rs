//! `cargo xtask large`: checks that a model with half a billion parameters fits into 4 GiB.

use crate::command::{cargo, output, program, run as run_command};
use crate::{Args, Outcome};
use std::path::Path;

const PROGRAM: &str = "target/release/large";
const FOLDER: &str = "target/large/random-0.5b";
const LIMIT: f64 = 4.0 * GIB;
const GIB: f64 = (1_u64 << 30) as f64;

/// Writes a checkpoint of the shape of Qwen2.5-0.5B, scores 512 tokens in a separate process, and compares the peak
/// resident memory of that process with the limit.
pub(crate) fn run(mut args: Args) -> Outcome {
    let keep = args.flag("--keep");
    args.finish()?;
    run_command(cargo(&["build", "--release", "-p", "flowrl-benches", "--bin", "large"]))?;
    let outcome = measure();
    if !keep && Path::new(FOLDER).exists() {
        std::fs::remove_dir_all(FOLDER).map_err(|error| format!("cannot remove {FOLDER}: {error}"))?;
    }
    let measured = outcome?;
    println!("{}", measured.show());
    measured.check()
}

fn measure() -> Result<Measured, String> {
    run_command(program(PROGRAM, &["write", FOLDER]))?;
    println!("$ {PROGRAM} score {FOLDER}");
    let printed = output(program(PROGRAM, &["score", FOLDER]))
        .ok_or_else(|| format!("`{PROGRAM} score {FOLDER}` failed; run it by hand after `cargo xtask large --keep`"))?;
    Measured::parse(&printed)
}

/// The numbers that the scoring process prints.
#[derive(Debug, PartialEq)]
struct Measured {
    load_s: f64,
    score_s: f64,
    peak_bytes: f64,
}

impl Measured {
    /// Parses the output, which has a name and a number on each line.
    fn parse(printed: &str) -> Result<Self, String> {
        let number = |name: &str| {
            printed
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok())
                .ok_or_else(|| format!("{PROGRAM} printed no line `{name} NUMBER`, but:\n{printed}"))
        };
        Ok(Self { load_s: number("load_s")?, score_s: number("score_s")?, peak_bytes: number("peak_bytes")? })
    }

    fn show(&self) -> String {
        let Self { load_s, score_s, peak_bytes } = self;
        format!("load {load_s:.2} s, score 512 tokens {score_s:.2} s, peak {:.2} GiB", peak_bytes / GIB)
    }

    fn check(&self) -> Outcome {
        match self.peak_bytes < LIMIT {
            true => Ok(()),
            false => Err(format!("the peak is {:.2} GiB, wanted below {:.0} GiB", self.peak_bytes / GIB, LIMIT / GIB)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_four_gibibytes() {
        let at = |peak_bytes| Measured { load_s: 1.0, score_s: 2.0, peak_bytes };
        assert_eq!(at(LIMIT - 1.0).check(), Ok(()));
        assert!(at(4_294_967_296.0).check().unwrap_err().contains("4.00 GiB"));
    }

    #[test]
    fn what_is_printed_is_read() {
        let measured = Measured::parse("load_s 1.5\nscore_s 20.25\npeak_bytes 3221225472\n").unwrap();
        assert_eq!(measured, Measured { load_s: 1.5, score_s: 20.25, peak_bytes: 3.0 * GIB });
        assert_eq!(measured.show(), "load 1.50 s, score 512 tokens 20.25 s, peak 3.00 GiB");
        assert!(Measured::parse("load_s 1.5\nscore_s x\n").unwrap_err().contains("`score_s NUMBER`"));
    }
}
