//! `bench lab`: compares the GFlowNet benchmark with gfnx, in time per iteration or in exact L1.
//!
//! Each side is a process with the arguments `SIDE DIM BATCH REWARD SEED` that prints `ready` after its first
//! iteration. The request `run N` runs N more iterations and answers with wall and CPU seconds; `l1` answers with the
//! exact L1 distance to the target.

use flowrl_benches::Failure;
use flowrl_benches::args::{Args, choose};
use flowrl_benches::paired::{Pairs, alternate, quantile, warn_if_busy};
use flowrl_benches::peer::{Peer, pause};
use flowrl_benches::report::{Timing, header, machine, versions, write_json};

use crate::{ourselves, script};

const SCRIPT: &str = "gfnx/hypergrid.py";

/// A row of the benchmark.
struct Case {
    name: &'static str,
    /// The arguments SIDE DIM BATCH REWARD.
    words: [&'static str; 4],
    batch: usize,
    /// Iterations of a timed run. They take the peer a few tenths of a second.
    block: usize,
    /// Numbers of trajectories at which the accuracy is measured.
    points: &'static [usize],
}

const CASES: &[Case] = &[
    Case { name: "2D8-b16", words: ["8", "2", "16", "easy"], batch: 16, block: 100, points: SMALL },
    Case { name: "2D8-b128", words: ["8", "2", "128", "torchgfn"], batch: 128, block: 25, points: GOALS },
    Case { name: "4D8-b16", words: ["8", "4", "16", "easy"], batch: 16, block: 50, points: LARGE },
    Case { name: "4D20-b16", words: ["20", "4", "16", "easy"], batch: 16, block: 20, points: LARGE },
];
const SMALL: &[usize] = &[4_000, 8_000, 16_000, 32_000];
/// The points of 2D8-b128, with those of its goals: L1 below 0.01 within 36,000 trajectories, and below 0.001 within
/// 50,000.
const GOALS: &[usize] = &[6_400, 12_800, 19_200, 25_600, 32_000, 36_000, 44_000, 50_000];
const LARGE: &[usize] = &[2_000, 4_000, 8_000, 16_000, 32_000, 64_000];

struct Options {
    python: String,
    alone: bool,
    warm: usize,
    runs: usize,
    starts: usize,
    seeds: usize,
    trajectories: usize,
    json: Option<String>,
}

/// Times both sides in alternation, or with `--accuracy` trains both and prints their exact L1.
pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let cases = choose(CASES, |case| case.name, &args.values("--case")?, "--case: unknown case")?;
    let (accuracy, python) = (args.flag("--accuracy"), args.value("--python")?);
    let options = Options {
        python: python.ok_or("--python PATH is missing")?,
        alone: args.flag("--alone"),
        warm: args.value("--warm")?.unwrap_or(3),
        runs: args.count("--runs", 21)?,
        starts: args.count("--starts", 3)?,
        seeds: args.count("--seeds", 3)?,
        trajectories: args.value("--trajectories")?.unwrap_or(usize::MAX),
        json: args.value("--json")?,
    };
    args.finish()?;
    let machine = format!("{}; {}", machine(), versions(&options.python, &["gfnx", "jax", "equinox", "optax"]));
    println!("\n{machine}; JAX with its own number of threads, our side with one; f32\n");
    warn_if_busy();
    match accuracy {
        true => cases.into_iter().try_for_each(|case| converge(case, &options)),
        false => time(&cases, &machine, &options),
    }
}

impl Case {
    /// Starts the peer, and our side unless the peer is alone. Both have then done their first iteration.
    fn start(&self, options: &Options, seed: usize) -> Result<(Option<Peer>, Peer), Failure> {
        let seed = seed.to_string();
        let words = [&self.words[..], &[&seed]].concat();
        let ours = ourselves(&[&["serve-lab"], &words[..]].concat())?;
        let ours = (!options.alone).then(|| Peer::start(ours)).transpose().map_err(|why| format!("our side: {why}"))?;
        let theirs = script(&options.python, SCRIPT, &words);
        Ok((ours, Peer::start(theirs).map_err(|why| format!("gfnx: {why}"))?))
    }
}

/// Trains for `iterations` more, and returns the wall and CPU seconds.
fn train(peer: &mut Peer, iterations: usize) -> Result<[f64; 2], String> {
    pause();
    peer.ask(&format!("run {iterations}"))
}

/// Prints three lines for each case: start-up, then CPU and wall time per iteration.
fn time(cases: &[&Case], machine: &str, options: &Options) -> Result<(), Failure> {
    println!("{} starts; {} pairs of runs discarded, {} kept\n", options.starts, options.warm, options.runs);
    println!("{}", header());
    let mut timings = Vec::new();
    for case in cases {
        let (mut start_up, mut last) = (Pairs::default(), None);
        for _ in 0..options.starts {
            // The processes of the start before must have ended.
            drop(last.take());
            let (ours, theirs) = case.start(options, 0)?;
            start_up.ours.extend(ours.as_ref().map(Peer::start_up));
            start_up.theirs.push(theirs.start_up());
            last = Some((ours, theirs));
        }
        let (mut ours, mut theirs) = last.ok_or("nothing was started")?;
        let each = |seconds: [f64; 2]| seconds.map(|seconds| seconds / case.block as f64);
        let [wall, cpu] = alternate(
            options.warm,
            options.runs,
            ours.as_mut().map(|ours| || train(ours, case.block).map(each)),
            || train(&mut theirs, case.block).map(each),
        )?;
        for (measured, seconds) in [("start-up", start_up), ("CPU", cpu), ("wall", wall)] {
            let timing = Timing { case: format!("{} {measured}", case.name), seconds };
            println!("{}", timing.row());
            timings.push(timing);
        }
    }
    Ok(write_json(options.json.as_deref(), machine, &timings)?)
}

/// The course of one training run: at each point the exact L1, and the CPU and wall seconds so far.
type Curve = Vec<[f64; 3]>;

/// Prints a line for each point, with the median, smallest and largest L1 over the seeds, and the median seconds, of
/// both sides.
fn converge(case: &Case, options: &Options) -> Result<(), Failure> {
    let points: Vec<usize> = case.points.iter().copied().filter(|&n| n <= options.trajectories).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for seed in 0..options.seeds {
        let (mut a, mut b) = case.start(options, seed)?;
        ours.extend(a.as_mut().map(|peer| curve(peer, case, &points)).transpose()?);
        theirs.push(curve(&mut b, case, &points)?);
    }
    println!("{}, {} seeds; start-up is not counted", case.name, options.seeds);
    println!("{:>12}  {:<42}  gfnx", "trajectories", "ours: L1 [least, largest]   CPU s   wall s");
    for (i, n) in points.iter().enumerate() {
        println!("{n:>12}  {:<42}  {}", show(&ours, i), show(&theirs, i));
    }
    println!();
    Ok(())
}

/// Trains up to each point, with as many iterations as do not exceed its trajectories.
fn curve(peer: &mut Peer, case: &Case, points: &[usize]) -> Result<Curve, String> {
    let (mut done, mut cpu, mut wall) = (1, 0.0, 0.0);
    let mut curve = Vec::new();
    for &point in points {
        let more = (point / case.batch).saturating_sub(done);
        let seconds = train(peer, more)?;
        (done, wall, cpu) = (done + more, wall + seconds[0], cpu + seconds[1]);
        pause();
        let [l1] = peer.ask("l1")?;
        curve.push([l1, cpu, wall]);
    }
    Ok(curve)
}

fn show(curves: &[Curve], point: usize) -> String {
    if curves.is_empty() {
        return "-".to_owned();
    }
    let [l1, cpu, wall] = [0, 1, 2].map(|i| curves.iter().map(|curve| curve[point][i]).collect::<Vec<f64>>());
    let [least, largest] = [0.0, 1.0].map(|q| quantile(&l1, q));
    let median = |values: &[f64]| quantile(values, 0.5);
    format!("{:.5} [{least:.5}, {largest:.5}] {:>8.2} {:>8.2}", median(&l1), median(&cpu), median(&wall))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_says_the_same_twice() {
        for case in CASES {
            assert_eq!(case.words[2], case.batch.to_string());
            assert_eq!(case.name, format!("{}D{}-b{}", case.words[1], case.words[0], case.batch));
            assert!(case.points.is_sorted() && case.points[0] >= case.batch);
        }
        assert!(std::path::Path::new(crate::SCRIPTS).join(SCRIPT).is_file());
    }

    #[test]
    fn a_line_has_median_least_and_largest() {
        let curves: Vec<Curve> = [0.3, 0.1, 0.2].map(|l1| vec![[l1, 1.0, 2.0]]).into();
        assert_eq!(show(&curves, 0), "0.20000 [0.10000, 0.30000]     1.00     2.00");
        assert_eq!(show(&[], 0), "-");
    }

    #[cfg(unix)]
    #[test]
    fn points_are_reached_and_not_passed() {
        let mut command = std::process::Command::new("sh");
        let answer = "if [ $a = run ]; then t=$((t + n)); echo 2 1; else echo $t; fi";
        command.args(["-c", &format!("t=1; echo ready; while read a n; do {answer}; done")]);
        let mut peer = Peer::start(command).unwrap();
        let case = &CASES[0];
        assert_eq!(
            curve(&mut peer, case, &[16, 40, 160]),
            Ok(vec![[1.0, 1.0, 2.0], [2.0, 2.0, 4.0], [10.0, 3.0, 6.0]])
        );
    }
}
