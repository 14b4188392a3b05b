//! Groups of rows that are timed in turn, together with their peers.

use std::time::Instant;

use flowrl_benches::paired::{Pairs, quartiles};
use flowrl_cuda::{CudaBackend, Precision};

use crate::peer::{Case, Peers};
use crate::report::Line;
use crate::{Bench, Failure};

/// The amount of work that a call does, from which its rate is computed.
#[derive(Clone, Copy)]
pub(crate) enum Amount {
    /// Bytes read and written.
    Bytes(f64),
    /// Multiplications and additions.
    Flops(f64),
    /// Tokens processed.
    Tokens(f64),
}

impl Amount {
    /// Returns the amount in the unit of its rate, and that unit.
    pub(crate) const fn scaled(self) -> (f64, &'static str) {
        match self {
            Self::Bytes(n) => (n / 1e9, "GB/s"),
            Self::Flops(n) => (n / 1e12, "TFLOP/s"),
            Self::Tokens(n) => (n, "tokens/s"),
        }
    }
}

type Work<'a> = Box<dyn FnMut() -> Result<(), Failure> + 'a>;

/// A row that times FlowRL's own code.
pub(crate) struct Row<'a> {
    pub(crate) name: String,
    pub(crate) amount: Amount,
    /// Number of calls per measurement. Short calls need many.
    pub(crate) calls: u32,
    /// Work that runs before each measurement and is not timed.
    pub(crate) prepare: Option<Work<'a>>,
    pub(crate) work: Work<'a>,
}

impl<'a> Row<'a> {
    /// Returns a row without preparation, with one call per measurement.
    pub(crate) fn new(name: String, amount: Amount, work: impl FnMut() -> Result<(), Failure> + 'a) -> Self {
        Self { name, amount, calls: 1, prepare: None, work: Box::new(work) }
    }

    /// Returns the seconds of a call.
    pub(crate) fn time(&mut self, gpu: &CudaBackend) -> Result<f64, Failure> {
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

/// The speed of light of a group: the bound that its rows are compared with.
#[derive(Clone, Copy)]
pub(crate) enum Light {
    /// The rate of the first row.
    FirstRow,
    /// The seconds that the machine needs at its measured rates.
    Seconds(f64),
}

/// The expected results, with which those of the peers are compared.
pub(crate) struct Check {
    /// The fingerprint [‖x‖, x · w] of each result.
    pub(crate) fingerprints: Vec<[f64; 2]>,
    /// Largest allowed difference relative to ‖x‖.
    pub(crate) tolerance: f64,
}

pub(crate) struct Group<'a> {
    pub(crate) title: String,
    pub(crate) rows: Vec<Row<'a>>,
    /// Index of the row that peers are compared with.
    pub(crate) ours: usize,
    pub(crate) light: Light,
    pub(crate) turns: usize,
    pub(crate) peers: Vec<Case>,
    pub(crate) check: Option<Check>,
}

/// The measurements of a peer.
struct Side {
    /// Our seconds and the peer's in each turn, or the reason why there are none.
    seconds: Result<Pairs, String>,
    /// Largest difference between the peer's results and ours, if they were compared.
    deviation: Option<f64>,
}

impl Group<'_> {
    /// Times all rows and adds them to the report.
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
                    sides.push(self.beside(peers, i, &gpu, &mut times)?);
                }
                // If no peer could run, our rows have not been timed yet.
                while times[self.ours].len() < self.turns {
                    self.turn(&gpu, &mut times)?;
                }
            }
        }
        let lines = self.lines(&times, &sides);
        let checked = sides.iter().zip(&self.peers).filter_map(|(side, case)| Some((case.name, side.deviation?)));
        // In f32 both sides differ only by the order of their sums.
        let most = if bench.gpu.precision() == Precision::F32 { 1e-5 } else { f64::INFINITY };
        let tolerance = self.check.as_ref().map_or(0.0, |check| check.tolerance).min(most);
        bench.report.group(&self.title, &lines, &checked.collect::<Vec<_>>(), tolerance)
    }

    /// Times each of our rows once.
    fn turn(&mut self, gpu: &CudaBackend, times: &mut [Vec<f64>]) -> Result<(), Failure> {
        self.rows.iter_mut().zip(times).try_for_each(|(row, times)| {
            times.push(row.time(gpu)?);
            Ok(())
        })
    }

    /// Runs all turns together with the process of one peer.
    fn beside(&mut self, peers: &Peers, i: usize, gpu: &CudaBackend, times: &mut [Vec<f64>]) -> Result<Side, Failure> {
        let started = peers.start(&self.peers[i]).and_then(|mut peer| {
            let theirs = self.check.as_ref().map(|_| peer.answer("check")).transpose()?;
            Ok((peer, theirs))
        });
        let (mut peer, theirs) = match started {
            Ok(started) => started,
            Err(why) => return Ok(Side { seconds: Err(why), deviation: None }),
        };
        let deviation = self.check.as_ref().zip(theirs).map(|(check, theirs)| check.deviation(&theirs));
        let mut pairs = Pairs::default();
        for _ in 0..self.turns {
            self.turn(gpu, times)?;
            match peer.run() {
                Ok(seconds) => pairs.theirs.push(seconds),
                Err(why) => return Ok(Side { seconds: Err(why), deviation }),
            }
            pairs.ours.extend(times[self.ours].last());
        }
        Ok(Side { seconds: Ok(pairs), deviation })
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
                Some(line("the limit by the machine's own rates".to_owned(), self.rows[self.ours].amount, &[light]))
            }
        };
        let ours = self.rows.iter().zip(times).map(|(row, times)| line(row.name.clone(), row.amount, times));
        let theirs = sides.iter().zip(&self.peers).map(|(side, case)| match &side.seconds {
            Err(why) => Line::absent(case.name, why),
            Ok(pairs) => {
                let line = line(case.name.to_owned(), self.rows[self.ours].amount, &pairs.theirs);
                Line { ratio: pairs.ratio(), ..line }
            }
        });
        floor.into_iter().chain(ours).chain(theirs).collect()
    }
}

impl Check {
    /// Returns the largest difference relative to ‖x‖. It is infinite if the peer gives another number of results.
    fn deviation(&self, theirs: &[f64]) -> f64 {
        let (theirs, rest) = theirs.as_chunks::<2>();
        if theirs.len() != self.fingerprints.len() || !rest.is_empty() {
            return f64::INFINITY;
        }
        let difference = |(ours, theirs): (&[f64; 2], &[f64; 2])| {
            let largest = (ours[0] - theirs[0]).abs().max((ours[1] - theirs[1]).abs());
            largest / ours[0].max(theirs[0]).max(f64::MIN_POSITIVE)
        };
        // `f64::max` would drop a NaN.
        let differences = self.fingerprints.iter().zip(theirs).map(difference);
        differences.fold(0.0, |largest, x| if x <= largest { largest } else { x })
    }
}
