//! Our side of a comparison: `bench serve CASE` with the protocol of `benches/peers/README.md`, and `bench serve-lab
//! SIDE DIM BATCH REWARD SEED` with that of `benches/peers/gfnx/README.md`.

use std::io::{BufRead, Write, stdin, stdout};
use std::str::FromStr;
use std::time::Instant;

use cpu_time::ProcessTime;
use flowrl_benches::args::{Args, choose};
use flowrl_benches::cases::CASES;
use flowrl_benches::lab::HypergridCase;
use flowrl_benches::{Cpu, Failure};
use flowrl_lab::{HypergridOptions, HypergridReward};

const WARM_UP: usize = 2;

/// Number of parameters that the network must have, by side and dimension.
const PARAMETERS: [((usize, usize), usize); 3] = [((8, 2), 71_429), ((8, 4), 76_553), ((20, 4), 88_841)];

/// Warms up, and runs one iteration per line `run`.
pub(crate) fn case(mut args: Args) -> Result<(), Failure> {
    let names = args.words();
    let [case] = choose(&CASES, |case| case.name, &names, "unknown case")?[..] else {
        return Err(format!("got {names:?}, wanted one case").into());
    };
    let mut work = (case.prepare)(Cpu::new(crate::peers::THREADS))?;
    for _ in 0..WARM_UP {
        (work.run)()?;
    }
    answer(|words| match words {
        ["run"] => Ok(format!("{:.9}", (work.run)()?)),
        _ => Err(format!("got {words:?} on standard input, wanted `run`").into()),
    })
}

/// Runs one iteration, and then answers `run N` and `l1`.
pub(crate) fn lab(mut args: Args) -> Result<(), Failure> {
    let mut case = hypergrid(&args.words())?;
    case.step()?;
    answer(|words| match words {
        ["run", iterations] => {
            let iterations: usize = number("run N", iterations)?;
            let (wall, cpu) = (Instant::now(), ProcessTime::now());
            (0..iterations).try_for_each(|_| case.step())?;
            Ok(format!("{:.9} {:.9}", wall.elapsed().as_secs_f64(), cpu.elapsed().as_secs_f64()))
        }
        ["l1"] => Ok(format!("{:.9}", case.l1()?)),
        _ => Err(format!("got {words:?} on standard input, wanted `run N` or `l1`").into()),
    })
}

fn hypergrid(words: &[String]) -> Result<HypergridCase, Failure> {
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

/// Prints `ready`, and then an answer to the words of every line.
fn answer(mut answer: impl FnMut(&[&str]) -> Result<String, Failure>) -> Result<(), Failure> {
    writeln!(stdout(), "ready")?;
    for line in stdin().lock().lines() {
        let line = line?;
        writeln!(stdout(), "{}", answer(&line.split_whitespace().collect::<Vec<_>>())?)?;
    }
    Ok(())
}

fn number<N: FromStr>(name: &str, word: &str) -> Result<N, Failure> {
    word.parse().map_err(|_| format!("{name}: got `{word}`, wanted a whole number").into())
}
