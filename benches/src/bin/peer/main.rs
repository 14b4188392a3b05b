//! Our side of `cargo xtask bench --peers`: `peer CASE WORDS`, on the protocol described in `benches/peers/README.md`.

mod objective;
mod ops;

use std::error::Error;
use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use flowrl_core::backend::CpuBackend;
use flowrl_core::random::{Purpose, Stream};

type Outcome = Result<(), Box<dyn Error>>;
type Cpu = CpuBackend<f32>;

const THREADS: usize = 2;
const WARM_UP: usize = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let cpu = Cpu::new(THREADS);
    let outcome = match words[..] {
        ["objective"] => objective::case(&cpu),
        ["partition", width] => ops::partition(&cpu, width),
        ["logprob"] => ops::logprob(&cpu),
        _ => Err(format!("got {words:?}, wanted `objective`, `partition WIDTH` or `logprob`").into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("peer: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Warms up, says `ready`, and does one iteration per line `run`. The iteration says how long its timed part took.
fn serve(mut iteration: impl FnMut() -> Result<Duration, Box<dyn Error>>) -> Outcome {
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

/// How long `work` took.
fn timed(work: impl FnOnce() -> Outcome) -> Result<Duration, Box<dyn Error>> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// `len` numbers uniform in [low, high), the same for the same `salt`.
fn uniform(salt: u32, len: usize, low: f64, high: f64) -> Vec<f32> {
    let stream = Stream::new(0, Purpose::Init);
    (0..len).map(|i| (low + (high - low) * stream.uniform(salt, 0, i as u32)) as f32).collect()
}
