//! Loads a checkpoint and scores one sequence, as `flowrl-cli score` does.

use std::fs;
use std::path::Path;
use std::time::Instant;

use flowrl_benches::args::Args;
use flowrl_benches::{Cpu, Failure, tokens};
use flowrl_core::policy::{Model, Policy, Sequences};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::load_policy;

/// Number of tokens in the sequence. The first one is its prompt.
const TOKENS: usize = 512;

/// The peak of resident memory must stay below this.
const LIMIT: u64 = 4 * GIB;
const GIB: u64 = 1 << 30;

/// Prints the seconds to load, the seconds to score, and the peak of resident memory, which must be below the limit.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let [folder] = &args.words()[..] else { return Err("wanted the folder of a checkpoint".into()) };
    let start = Instant::now();
    let checkpoint = Checkpoint::open(Path::new(folder))?;
    let mut policy = load_policy(Cpu::new(0), &checkpoint)?;
    let load = start.elapsed().as_secs_f64();

    let ids = tokens(0, TOKENS, checkpoint.config().dims.vocab);
    let (prompt, completion) = ids.split_at(1);
    let sequences = Sequences { prompts: &[prompt], completions: &[completion], prompt_of: &[0] };
    let start = Instant::now();
    let pool = policy.backend().pool().clone();
    let log_probs = pool.enter(|| policy.score(&sequences, Model::Policy, 1.0))?.log_probs;
    let score = start.elapsed().as_secs_f64();
    if let Some(t) = log_probs.iter().position(|l| !(l.is_finite() && *l < 0.0)) {
        return Err(format!("the log-prob of token {t} is {}, wanted a finite number below 0", log_probs[t]).into());
    }
    let peak = peak_bytes(&fs::read_to_string("/proc/self/status")?)?;
    println!("load {load:.2} s, score {TOKENS} tokens {score:.2} s, peak {:.2} GiB", in_gib(peak));
    Ok(check(peak)?)
}

fn in_gib(bytes: u64) -> f64 {
    bytes as f64 / GIB as f64
}

fn check(peak: u64) -> Result<(), String> {
    match peak < LIMIT {
        true => Ok(()),
        false => Err(format!("the peak is {:.2} GiB, wanted below {:.0} GiB", in_gib(peak), in_gib(LIMIT))),
    }
}

/// Reads the high-water mark of resident memory from the text of `/proc/self/status`.
fn peak_bytes(status: &str) -> Result<u64, Failure> {
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"))
        .ok_or("/proc/self/status has no line `VmHWM: N kB`; the peak can only be measured on Linux")?;
    Ok(kib.trim().parse::<u64>()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_is_four_gibibytes() {
        assert_eq!(check(LIMIT - 1), Ok(()));
        assert!(check(4_294_967_296).unwrap_err().contains("4.00 GiB"));
    }

    #[test]
    fn the_peak_is_read() {
        let status = "Name:\tlarge\nVmPeak:\t  900 kB\nVmHWM:\t  123 kB\nVmRSS:\t  100 kB\n";
        assert_eq!(peak_bytes(status).unwrap(), 123 * 1024);
        assert!(peak_bytes("VmRSS:\t 1 kB\n").unwrap_err().to_string().contains("VmHWM"));
    }
}
