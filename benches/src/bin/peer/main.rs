//! Our side of `cargo xtask bench --peers`: `peer CASE WORDS`, with the protocol of `benches/peers/README.md`.

use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowrl_benches::model::{Generate, PEER_SHAPE, TrainStep, random_policy};
use flowrl_benches::objective::ObjectiveCase;
use flowrl_benches::operations::{LogProbCase, PartitionCase};
use flowrl_benches::{Cpu, Failure};

const THREADS: usize = 2;
const WARM_UP: usize = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match case(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peer: {why}");
            ExitCode::FAILURE
        }
    }
}

fn case(words: &[&str]) -> Result<(), Failure> {
    let cpu = Cpu::new(THREADS);
    match *words {
        ["objective"] => {
            let mut case = ObjectiveCase::new(64, 8, 8192);
            serve(|| timed(|| case.run(&cpu)))
        }
        ["partition", width] => {
            let width = width.parse().map_err(|_| format!("WIDTH: got `{width}`, wanted a whole number"))?;
            let mut case = PartitionCase::new(&cpu, 64, width)?;
            serve(|| timed(|| case.run(&cpu)))
        }
        ["logprob"] => {
            let mut case = LogProbCase::new(512, 32_000);
            serve(|| {
                case.restore();
                timed(|| case.run(&cpu))
            })
        }
        ["train_step", model] => {
            let mut case = TrainStep::new(random_policy(cpu, model.as_ref())?, PEER_SHAPE)?;
            serve(|| timed(|| case.run()))
        }
        ["generate", model] => {
            let mut case = Generate::new(random_policy(cpu, model.as_ref())?, PEER_SHAPE);
            serve(|| timed(|| case.run()))
        }
        _ => {
            let wanted = "`objective`, `partition WIDTH`, `logprob`, `train_step MODEL` or `generate MODEL`";
            Err(format!("got {words:?}, wanted {wanted}").into())
        }
    }
}

/// Warms up, prints `ready`, and runs one iteration per line `run`. The iteration returns the duration of its timed
/// part.
fn serve(mut iteration: impl FnMut() -> Result<Duration, Failure>) -> Result<(), Failure> {
    for _ in 0..WARM_UP {
        iteration()?;
    }
    writeln!(stdout(), "ready")?;
    for line in stdin().lock().lines() {
        match line?.trim() {
            "run" => writeln!(stdout(), "{:.9}", iteration()?.as_secs_f64())?,
            other => return Err(format!("got `{other}` on standard input, wanted `run`").into()),
        }
    }
    Ok(())
}

/// Returns the time that `work` took.
fn timed<R>(work: impl FnOnce() -> Result<R, Failure>) -> Result<Duration, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}
