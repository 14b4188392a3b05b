//! Rows that are timed in turn, with their peers.

use std::time::Instant;

use flowrl_cuda::{CudaBackend, Precision};

use crate::peer::{Case, Peers};
use crate::report::{Line, quartiles};
use crate::{Bench, Failure};

/// What a call moves or computes.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Bytes read and written.
    Bytes(f64),
    /// Multiplications and additions.
    Flops(f64),
    /// Tokens.
    Tokens(f64),
}

impl Amount {
    /// With the unit in which its rate is told.
    pub(crate) const fn scaled(self) -> (f64, &'static str) {
        match self {
            Self::Bytes(n) => (n / 1e9, "GB/s"),
            Self::Flops(n) => (n / 1e12, "TFLOP/s"),
            Self::Tokens(n) => (n, "tokens/s"),
        }
    }
}

type Work<'a> = Box<dyn FnMut() -> Result<(), Failure> + 'a>;

/// A row of ours.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    pub(crate) amount: Amount,
    /// Calls between two looks at the clock: short ones need many.
    pub(crate) calls: u32,
    /// Before each look at the clock, not counted.
    pub(crate) prepare: Option<Work<'a>>,
    pub(crate) work: Work<'a>,
}

impl<'a> Row<'a> {
    /// A row that needs no preparation, one call at a time.
    pub(crate) fn new(name: String, amount: Amount, work: impl FnMut() -> Result<(), Failure> + 'a) -> Self {
        Self { name, amount, calls: 1, prepare: None, work: Box::new(work) }
    }

    fn time(&mut self, gpu: &CudaBackend) -> Result<f64, Failure> {
        if let Some(prepare) = &mut self.prepare {
            prepare()?;
        }
        gpu.synchronize()?;
        let start = Instant::now();
        for _ in 0..self.calls {
            (self.work)()?;
        }
        gpu.synchronize()?;
        Ok(start.elapsed().as_secs_f64() / f64::from(self.calls))
    }
}

/// The speed of light of a group.
#[derive(Clone, Copy)]
pub(crate) enum Light {
    /// The rate of the first row.
    FirstRow,
    /// Seconds that the machine needs at its measured rates.
    Seconds(f64),
}

/// By what both sides are known to compute the same: [‖x‖, x · w] of each result.
pub(crate) struct Check {
    pub(crate) fingerprints: Vec<[f64; 2]>,
    /// Allowed differences, as a part of ‖x‖.
    pub(crate) tolerance: f64,
}

pub(crate) struct Group<'a> {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row<'a>>,
    /// The row that peers are compared with.
    pub(crate) ours: usize,
    pub(crate) light: Light,
    pub(crate) turns: usize,
    pub(crate) peers: Vec<Case>,
    pub(crate) check: Option<Check>,
}

/// A peer's seconds, turn by turn, or why there are none; how far its numbers are from ours, where they were compared.
struct Side {
    times: Result<Vec<f64>, String>,
    deviation: Option<f64>,
    /// Our times in the same turns.
    ours: Vec<f64>,
}

impl Group<'_> {
    /// Times all rows and writes them into the report.
    pub(crate) fn run(mut self, bench: &mut Bench) -> Result<(), Failure> {
        let gpu = bench.gpu.clone();
        let mut times = vec![Vec::new(); self.rows.len()];
        // The first turn compiles, allocates and warms up.
        self.turn(&gpu, &mut vec![Vec::new(); self.rows.len()])?;
        let mut sides = Vec::new();
        match &bench.peers {
            None => (0..self.turns).try_for_each(|_| self.turn(&gpu, &mut times))?,
            Some(peers) => {
                for i in 0..self.peers.len() {
                    let before = times[self.ours].len();
                    let (theirs, deviation) = self.beside(peers, i, &gpu, &mut times)?;
                    let ours = times[self.ours][before..].to_vec();
                    sides.push(Side { times: theirs, deviation, ours });
                }
                // Where no peer could run, nothing of ours was timed yet.
                while times[self.ours].len() < self.turns {
                    self.turn(&gpu, &mut times)?;
                }
            }
        }
        let lines = self.lines(&times, &sides);
        let checked = sides.iter().zip(&self.peers).filter_map(|(side, case)| Some((case.name, side.deviation?)));
        // In f32 both sides differ by the order of their sums alone.
        let most = if bench.gpu.precision() == Precision::F32 { 1e-5 } else { f64::INFINITY };
        let tolerance = self.check.as_ref().map_or(0.0, |check| check.tolerance).min(most);
        bench.report.group(&self.title, &lines, &checked.collect::<Vec<_>>(), tolerance)
    }

    /// All our rows once.
    fn turn(&mut self, gpu: &CudaBackend, times: &mut [Vec<f64>]) -> Result<(), Failure> {
        self.rows.iter_mut().zip(times).try_for_each(|(row, times)| {
            times.push(row.time(gpu)?);
            Ok(())
        })
    }

    /// Turns with the process of one peer.
    #[allow(clippy::type_complexity, reason = "times or why there are none, and the deviation")]
    fn beside(
        &mut self,
        peers: &Peers,
        i: usize,
        gpu: &CudaBackend,
        times: &mut [Vec<f64>],
    ) -> Result<(Result<Vec<f64>, String>, Option<f64>), Failure> {
        let mut process = match peers.start(&self.peers[i]) {
            Ok(process) => process,
            Err(why) => return Ok((Err(why), None)),
        };
        let mut deviation = None;
        if let Some(check) = &self.check {
            match process.ask("check") {
                Ok(numbers) => deviation = Some(check.deviation(&numbers)),
                Err(why) => return Ok((Err(why), None)),
            }
        }
        let mut theirs = Vec::new();
        for _ in 0..self.turns {
            self.turn(gpu, times)?;
            match process.run() {
                Ok(seconds) => theirs.push(seconds),
                Err(why) => return Ok((Err(why), deviation)),
            }
        }
        Ok((Ok(theirs), deviation))
    }

    fn lines(&self, times: &[Vec<f64>], sides: &[Side]) -> Vec<Line> {
        let rate = |amount: Amount, seconds: f64| amount.scaled().0 / seconds;
        let first = rate(self.rows[0].amount, quartiles(&times[0])[1]);
        let line = |name: String, amount: Amount, times: &[f64]| {
            let seconds = quartiles(times);
            let of_light = match self.light {
                Light::FirstRow => rate(amount, seconds[1]) / first,
                Light::Seconds(light) => light / seconds[1],
            };
            Line { name, amount: Some(amount), seconds, of_light, ratio: None, absent: None }
        };
        let floor = match self.light {
            Light::FirstRow => None,
            Light::Seconds(light) => {
                Some(line("what the machine's own rates allow".to_owned(), self.rows[self.ours].amount, &[light]))
            }
        };
        let ours = self.rows.iter().zip(times).map(|(row, times)| line(row.name.clone(), row.amount, times));
        let theirs = sides.iter().zip(&self.peers).map(|(side, case)| match &side.times {
            Err(why) => Line::absent(case.name, why),
            Ok(times) => {
                let ratios: Vec<f64> = times.iter().zip(&side.ours).map(|(theirs, ours)| theirs / ours).collect();
                let line = line(case.name.to_owned(), self.rows[self.ours].amount, times);
                Line { ratio: Some(quartiles(&ratios)), ..line }
            }
        });
        floor.into_iter().chain(ours).chain(theirs).collect()
    }
}

impl Check {
    /// The largest difference as a part of ‖x‖; infinite where the peer gives another number of results.
    fn deviation(&self, theirs: &[f64]) -> f64 {
        let (theirs, rest) = theirs.as_chunks::<2>();
        if theirs.len() != self.fingerprints.len() || !rest.is_empty() {
            return f64::INFINITY;
        }
        let difference = |(ours, theirs): (&[f64; 2], &[f64; 2])| {
            let largest = (ours[0] - theirs[0]).abs().max((ours[1] - theirs[1]).abs());
            largest / ours[0].max(theirs[0]).max(f64::MIN_POSITIVE)
        };
        // `max` would lose a NaN.
        let differences = self.fingerprints.iter().zip(theirs).map(difference);
        differences.fold(0.0, |largest, x| if x <= largest { largest } else { x })
    }
}
