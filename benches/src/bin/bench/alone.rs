//! `bench alone [FILTER]... [--runs N]`: times our side of every case whose name contains a filter.

use flowrl_benches::args::Args;
use flowrl_benches::cases::{CASES, Work};
use flowrl_benches::paired::{quartiles, warn_if_busy};
use flowrl_benches::{Cpu, Failure, report};

/// The least seconds of a turn, which takes as many iterations as it needs for them.
const TURN: f64 = 0.05;

pub(crate) fn run(mut args: Args) -> Result<(), Failure> {
    let runs = args.count("--runs", 21)?;
    let filters = args.words();
    args.finish()?;
    let is_chosen = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter.as_str()));
    if CASES.iter().all(|case| !is_chosen(case.name)) {
        return Err(format!("no case has a name that contains {}", filters.join(" or ")).into());
    }
    println!("{}; all threads, f32; {runs} turns\n", report::machine());
    warn_if_busy();
    println!("{:<24} {:>10}  {:<22} {:>10}", "case", "ms", "quartiles", "rate");
    for case in CASES.iter().filter(|case| is_chosen(case.name)) {
        let mut work = (case.prepare)(Cpu::new(0))?;
        let [low, median, high] = quartiles(&time(&mut work, runs)?);
        let (rate, unit) = (work.amount / median, work.unit);
        let quartiles = format!("[{:.3}, {:.3}]", low * 1e3, high * 1e3);
        println!("{:<24} {:>10.3}  {quartiles:<22} {rate:>10.1} {unit}", case.name, median * 1e3);
    }
    Ok(())
}

/// Returns the mean seconds of the iterations of each turn. Two iterations before the first turn warm up.
fn time(work: &mut Work, runs: usize) -> Result<Vec<f64>, Failure> {
    (work.run)()?;
    let iterations = (TURN / (work.run)()?).ceil().max(1.0) as usize;
    let turn = |_| {
        let total = (0..iterations).try_fold(0.0, |total, _| Ok::<_, Failure>(total + (work.run)()?))?;
        Ok(total / iterations as f64)
    };
    (0..runs).map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_the_mean_of_its_iterations() {
        let mut seconds = [9.0, 0.02, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0].into_iter();
        let run = Box::new(move || seconds.next().ok_or("too many iterations".into()));
        assert_eq!(time(&mut Work { amount: 1.0, unit: "", run }, 2).unwrap(), [2.0, 6.0]);
    }
}
