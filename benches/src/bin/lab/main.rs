//! Our side of `cargo xtask lab-bench`: `lab SIDE DIM BATCH REWARD SEED`, with the protocol of
//! `benches/peers/gfnx/README.md`.

use std::io::{BufRead, Write, stdin, stdout};
use std::process::ExitCode;
use std::time::Instant;

use cpu_time::ProcessTime;
use flowrl_benches::Failure;
use flowrl_benches::lab::HypergridCase;
use flowrl_lab::{HypergridOptions, HypergridReward};

/// Number of parameters that the network must have, by side and dimension.
const PARAMETERS: [((usize, usize), usize); 3] = [((8, 2), 71_429), ((8, 4), 76_553), ((20, 4), 88_841)];

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match serve(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("lab: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one iteration, prints `ready`, and then answers every line.
fn serve(words: &[String]) -> Result<(), Failure> {
    let mut case = case(words)?;
    case.step()?;
    writeln!(stdout(), "ready")?;
    for line in stdin().lock().lines() {
        let line = line?;
        match *line.split(' ').collect::<Vec<_>>() {
            ["run", iterations] => {
                let iterations: usize = number("run N", iterations)?;
                let (wall, cpu) = (Instant::now(), ProcessTime::now());
                (0..iterations).try_for_each(|_| case.step())?;
                writeln!(stdout(), "{:.9} {:.9}", wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64())?;
            }
            ["l1"] => writeln!(stdout(), "{:.9}", case.l1()?)?,
            _ => return Err(format!("got `{line}` on standard input, wanted `run N` or `l1`").into()),
        }
    }
    Ok(())
}

fn case(words: &[String]) -> Result<HypergridCase, Failure> {
    let [side, dim, batch, reward, seed] = words else {
        return Err(format!("got {words:?}, wanted SIDE DIM BATCH REWARD SEED").into());
    };
    let reward = match reward.as_str() {
        "easy" => HypergridReward::Easy,
        "hard" => HypergridReward::Hard,
        "torchgfn" => HypergridReward::TorchGfn,
        _ => return Err(format!("REWARD: got `{reward}`, wanted easy, hard or torchgfn").into()),
    };
    let options = HypergridOptions { side: number("SIDE", side)?, dim: number("DIM", dim)?, reward };
    let case = HypergridCase::new(options, number("BATCH", batch)?, number("SEED", seed)?)?;
    match PARAMETERS.iter().find(|(grid, _)| *grid == (options.side, options.dim)) {
        Some(&(_, wanted)) if case.parameters() != wanted => {
            Err(format!("the network has {} parameters, wanted {wanted}", case.parameters()).into())
        }
        _ => Ok(case),
    }
}

fn number<N: std::str::FromStr>(name: &str, word: &str) -> Result<N, Failure> {
    word.parse().map_err(|_| format!("{name}: got `{word}`, wanted a whole number").into())
}
