//! Races: policies that are trained in lockstep towards one target.

use std::fmt::{self, Write as _};
use std::rc::Rc;

use flowrl_core::{Real, exact};
use flowrl_lab::{Environment, Measures, Target};

use crate::error::Error;
use crate::lane::{Lane, LaneState, RaceOptions, Shared};

/// Defines the measures in the order of a frame and of a record. The value of each is computed from a lane, its exact
/// measures, and the divergence from the distribution that its own objective converges to.
macro_rules! measures {
    (|$lane:pat_param, $exact:pat_param, $fixed_point:pat_param| $($name:literal: $value:expr,)*) => {
        /// Names of the measures of a lane, in the order of a frame and of a record. [`flowrl_core::metrics`] describes
        /// them. The value is NaN if a lane lacks the measure.
        pub const MEASURES: [&str; [$($name),*].len()] = [$($name),*];

        fn values($lane: &Lane, $exact: &Measures, $fixed_point: f64) -> [f64; MEASURES.len()] {
            [$($value),*]
        }
    };
}

measures! { |lane, exact, fixed_point|
    "kl": exact.kl,
    "reverse_kl": exact.reverse_kl,
    "tv": exact.tv,
    "jsd": exact.jsd,
    "entropy": exact.entropy,
    "expected_reward": exact.expected_reward,
    "expected_length": exact.expected_length,
    "mode_mass": exact.mode_mass,
    "modes_found": exact.modes_found as f64,
    "modes": exact.modes as f64,
    "kl_fixed_point": fixed_point,
    "log_z": lane.log_z(),
    "loss": lane.loss,
}

/// Largest number of records. If there are more, every second one is dropped.
const MOST_RECORDS: usize = 2048;
/// Largest number of snapshots. If there are more, every second one is dropped.
const MOST_SNAPSHOTS: usize = 256;

/// Largest number of lanes in a race.
pub const MOST_LANES: usize = 6;

/// Policies that learn the same task with the same random numbers, a step at a time.
///
/// ```
/// use flowrl_wasm::{LaneKind, LaneOptions, Race, RaceOptions};
/// use flowrl_lab::{Landscape, LandscapeOptions};
/// use std::rc::Rc;
/// let lane = |kind| LaneOptions { kind, exploration: 0.0, replay: 0.0 };
/// let options = RaceOptions { lanes: vec![lane(LaneKind::FlowRl), lane(LaneKind::Grpo)], ..RaceOptions::default() };
/// let mut race = Race::new(Rc::new(Landscape::preset(LandscapeOptions::default())?), options)?;
/// race.run(600)?;
/// assert_eq!((race.measure(0, "modes_found")?, race.measure(1, "modes_found")?), (4.0, 1.0));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Race {
    options: RaceOptions,
    environment: Shared,
    lanes: Vec<Lane>,
    target: Target,
    normalised: Option<Target>,
    step: u64,
    record_every: u64,
    snapshot_every: u64,
    /// The records in rows, each with the step and the measures of every lane.
    records: Vec<f64>,
    snapshots: Vec<Snapshot>,
    frame: Vec<f32>,
}

impl fmt::Debug for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Race").field("options", &self.options).field("step", &self.step).finish_non_exhaustive()
    }
}

/// The state of a race after a step.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) step: u64,
    pub(crate) lanes: Vec<LaneState>,
}

impl Race {
    /// Creates a race at step 0. If objects can be reached in several ways, there is no reference policy, and the KL
    /// weight of every policy gradient is set to 0.
    ///
    /// # Errors
    /// Returns an error if there is no lane or more than [`MOST_LANES`], or if an option is out of range.
    pub fn new(environment: Shared, options: RaceOptions) -> Result<Self, Error> {
        let count = options.lanes.len();
        for (option, got, ok, wanted) in [
            ("lanes", count as f64, (1..=MOST_LANES).contains(&count), "between 1 and 6"),
            ("beta", options.beta, (0.0..=1e3).contains(&options.beta), "at least 0 and at most 1000"),
            ("samples", options.samples as f64, (1..=4096).contains(&options.samples), "between 1 and 4096"),
            ("recordEvery", f64::from(options.record_every), options.record_every > 0, "at least 1"),
            ("learningRate", options.learning_rate, options.learning_rate >= 0.0, "at least 0"),
            ("logZLearningRate", options.log_z_learning_rate, options.log_z_learning_rate >= 0.0, "at least 0"),
        ] {
            if !ok {
                return Err(Error::Option { option, got, wanted });
            }
        }
        let target = Target::plain(&*environment, options.beta)?;
        // A second target, if it differs and can be computed.
        let differs = environment.max_length() > 1 && environment.parents() == 0;
        let normalised = differs.then(|| Target::length_normalised(&*environment, options.beta)).transpose()?;
        let lanes = options.lanes.iter().map(|&lane| Lane::new(&environment, &options, lane));
        let lanes = lanes.collect::<Result<Vec<_>, _>>()?;
        let every = u64::from(options.record_every);
        let mut race = Self {
            environment,
            lanes,
            target,
            normalised,
            step: 0,
            record_every: every,
            snapshot_every: every,
            records: Vec::new(),
            snapshots: Vec::new(),
            frame: Vec::new(),
            options,
        };
        race.record()?;
        Ok(race)
    }

    /// Returns the options, with the present β and learning rate.
    pub const fn options(&self) -> &RaceOptions {
        &self.options
    }

    /// Returns the task.
    pub fn environment(&self) -> &dyn Environment {
        &*self.environment
    }

    /// Returns the number of steps so far.
    pub const fn step(&self) -> u64 {
        self.step
    }

    /// Returns the target π_ref·exp(βr)/Z.
    pub const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn lane(&mut self, lane: usize) -> Result<&mut Lane, Error> {
        let wrong = Error::Option { option: "lane", got: lane as f64, wanted: "the number of a lane, from 0" };
        self.lanes.get_mut(lane).ok_or(wrong)
    }

    /// Trains every lane for some steps.
    ///
    /// # Errors
    /// Returns an error if a number is no longer finite, for example because the learning rate is too large.
    pub fn run(&mut self, steps: u32) -> Result<(), Error> {
        for _ in 0..steps {
            for lane in &mut self.lanes {
                lane.step(&self.options)?;
            }
            self.step += 1;
            if self.step.is_multiple_of(self.record_every) {
                self.record()?;
            }
        }
        Ok(())
    }

    /// Changes β and thus the target. The policies keep what they have learned.
    ///
    /// # Errors
    /// Returns an error if β is out of range.
    pub fn set_beta(&mut self, beta: f64) -> Result<(), Error> {
        self.rebuild(self.environment.clone(), RaceOptions { beta, ..self.options.clone() })
    }

    /// Changes the learning rate of the policies.
    ///
    /// # Errors
    /// Returns an error if the rate is out of range.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<(), Error> {
        self.rebuild(self.environment.clone(), RaceOptions { learning_rate, ..self.options.clone() })
    }

    /// Changes the task. The policies keep what they have learned.
    ///
    /// # Errors
    /// Returns an error if the task has another shape.
    pub fn set_environment(&mut self, environment: Shared) -> Result<(), Error> {
        self.rebuild(environment, self.options.clone())
    }

    /// Rebuilds the race with another task or other options and keeps its state. If this fails, the race is unchanged.
    fn rebuild(&mut self, environment: Shared, options: RaceOptions) -> Result<(), Error> {
        let state = self.state()?;
        let mut other = Self::new(environment, options)?;
        other.restore(&state)?;
        (self.environment, self.options, self.lanes) = (other.environment, other.options, other.lanes);
        (self.target, self.normalised) = (other.target, other.normalised);
        Ok(())
    }

    fn state(&self) -> Result<Snapshot, Error> {
        let lanes = self.lanes.iter().map(Lane::state).collect::<Result<_, _>>()?;
        Ok(Snapshot { step: self.step, lanes })
    }

    fn restore(&mut self, snapshot: &Snapshot) -> Result<(), Error> {
        if snapshot.lanes.len() != self.lanes.len() {
            return Err(Error::Saved);
        }
        self.lanes.iter_mut().zip(&snapshot.lanes).try_for_each(|(lane, state)| lane.restore(state))?;
        self.step = snapshot.step;
        Ok(())
    }

    /// Returns the [`MEASURES`] of every lane, (lanes), for the present policies.
    ///
    /// # Errors
    /// Returns an error if a log-probability is not finite.
    pub fn measures(&mut self) -> Result<Vec<[f64; MEASURES.len()]>, Error> {
        (0..self.lanes.len()).map(|lane| self.measure_all(lane).map(|(measures, _)| measures)).collect()
    }

    /// Returns one of the [`MEASURES`] of a lane, for its present policy.
    ///
    /// # Errors
    /// Returns an error if there is no such lane or no measure of this name.
    pub fn measure(&mut self, lane: usize, name: &str) -> Result<f64, Error> {
        self.lane(lane)?;
        let place = MEASURES.iter().position(|measure| *measure == name);
        let place = place.ok_or_else(|| Error::name("name", name, &MEASURES))?;
        Ok(self.measure_all(lane)?.0[place])
    }

    /// Returns the measures of a lane, and its log-probabilities of the objects.
    fn measure_all(&mut self, lane: usize) -> Result<([f64; MEASURES.len()], Vec<f64>), Error> {
        let Self { lanes, target, normalised, .. } = self;
        let lane = &mut lanes[lane];
        let log_probs = lane.log_probs()?;
        let m = target.measure(&log_probs)?;
        let own = match normalised {
            Some(normalised) if lane.options.kind.is_normalised() => exact::kl(&log_probs, &normalised.log_probs)?,
            _ => m.kl,
        };
        Ok((values(lane, &m, own), log_probs))
    }

    fn record(&mut self) -> Result<(), Error> {
        let measures = self.measures()?;
        self.records.push(self.step as f64);
        self.records.extend(measures.iter().flatten());
        if self.step.is_multiple_of(self.snapshot_every) {
            let state = self.state()?;
            self.snapshots.push(state);
        }
        if self.records.len() / self.row() > MOST_RECORDS {
            self.record_every *= 2;
            let (row, every) = (self.row(), self.record_every);
            let kept = self.records.chunks_exact(row).filter(|r| (r[0] as u64).is_multiple_of(every));
            self.records = kept.flatten().copied().collect();
        }
        if self.snapshots.len() > MOST_SNAPSHOTS {
            self.snapshot_every = (self.snapshot_every * 2).max(self.record_every);
            let every = self.snapshot_every;
            self.snapshots.retain(|snapshot| snapshot.step.is_multiple_of(every));
        }
        Ok(())
    }

    /// Returns the number of values in a record: the step, then the [`MEASURES`] of every lane.
    pub fn row(&self) -> usize {
        1 + MEASURES.len() * self.lanes.len()
    }

    /// Returns the records so far in ascending order of the steps, with [`row`](Self::row) values each. If there are
    /// more than 2048, every second one is dropped.
    pub fn records(&self) -> &[f64] {
        &self.records
    }

    /// Returns the records as comma-separated values with a line for every step and lane.
    pub fn csv(&self) -> String {
        let mut out = String::from("step,lane");
        MEASURES.iter().for_each(|name| out.extend([",", name]));
        out.push('\n');
        for record in self.records.chunks_exact(self.row()) {
            for (lane, values) in self.lanes.iter().zip(record[1..].chunks_exact(MEASURES.len())) {
                let _ = write!(out, "{},{}", record[0], lane.options.kind.name());
                values.iter().for_each(|value| _ = write!(out, ",{value}"));
                out.push('\n');
            }
        }
        out
    }

    /// Returns the steps that [`show`](Self::show) and [`fork`](Self::fork) can go back to, in ascending order.
    pub fn snapshots(&self) -> Vec<f64> {
        self.snapshots.iter().map(|snapshot| snapshot.step as f64).collect()
    }

    /// Returns a frame, which holds for each lane its [`MEASURES`], its probabilities of the objects, and the answers
    /// of its last step.
    ///
    /// # Errors
    /// Returns an error if a log-probability is not finite.
    pub fn frame(&mut self) -> Result<&[f32], Error> {
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        for lane in 0..self.lanes.len() {
            let (measures, log_probs) = self.measure_all(lane)?;
            frame.extend(measures.iter().map(|&value| value as f32));
            frame.extend(log_probs.iter().map(|&l| Real::exp(l) as f32));
            frame.extend_from_slice(&self.lanes[lane].samples);
        }
        self.frame = frame;
        Ok(&self.frame)
    }

    pub(crate) fn snapshot_at(&self, step: f64) -> Result<Snapshot, Error> {
        let last = self.snapshots.iter().rev().find(|snapshot| snapshot.step as f64 <= step);
        last.cloned().ok_or(Error::Option { option: "step", got: step, wanted: "at least 0" })
    }

    /// Returns the frame of the last snapshot at or before `step`, measured against the present target. This does not
    /// change the state of the race.
    ///
    /// # Errors
    /// Returns an error if `step` is before the first snapshot.
    pub fn show(&mut self, step: f64) -> Result<&[f32], Error> {
        let then = self.snapshot_at(step)?;
        let now = self.state()?;
        self.restore(&then)?;
        let frame = self.frame().map(drop);
        self.restore(&now)?;
        frame.map(|()| &*self.frame)
    }

    /// Goes back to the last snapshot at or before `step`, drops all later records and snapshots, and returns its step.
    /// β and the task stay as they are.
    ///
    /// # Errors
    /// Returns an error if `step` is before the first snapshot.
    pub fn fork(&mut self, step: f64) -> Result<u64, Error> {
        let then = self.snapshot_at(step)?;
        self.restore(&then)?;
        self.snapshots.retain(|snapshot| snapshot.step <= then.step);
        let (row, until) = (self.row(), then.step as f64);
        let kept = self.records.chunks_exact(row).take_while(|record| record[0] <= until).count();
        self.records.truncate(kept * row);
        Ok(then.step)
    }

    /// Saves the learned state as bytes, from which another instance with the same task and options can continue.
    /// Records, snapshots and the answers kept for replay are not included.
    ///
    /// # Errors
    /// Returns an error if there is no memory left.
    pub fn save(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = self.step.to_le_bytes().to_vec();
        for lane in self.state()?.lanes {
            let progress = lane.progress;
            [progress.step, progress.updates, progress.skipped].iter().for_each(|x| bytes.extend(x.to_le_bytes()));
            lane.policy.iter().chain(&lane.log_z).flatten().for_each(|x| bytes.extend(x.to_le_bytes()));
        }
        Ok(bytes)
    }

    /// Restores the state that another instance saved, and clears records and snapshots.
    ///
    /// # Errors
    /// Returns an error if the bytes do not fit the task and the options. The race is then unchanged.
    pub fn load(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let mut rest = bytes;
        let mut state = self.state()?;
        state.step = number(&mut rest).map(u64::from_le_bytes)?;
        for lane in &mut state.lanes {
            let progress = &mut lane.progress;
            for count in [&mut progress.step, &mut progress.updates, &mut progress.skipped] {
                *count = number(&mut rest).map(u64::from_le_bytes)?;
            }
            lane.replay = None;
            for value in lane.policy.iter_mut().chain(&mut lane.log_z).flatten() {
                *value = number(&mut rest).map(f32::from_le_bytes)?;
            }
        }
        if !rest.is_empty() {
            return Err(Error::Saved);
        }
        self.restore(&state)?;
        self.records.clear();
        self.snapshots.clear();
        self.record()
    }
}

/// Removes the bytes of a number from the front of `rest` and returns them.
fn number<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Error> {
    let (head, tail) = rest.split_first_chunk().ok_or(Error::Saved)?;
    *rest = tail;
    Ok(*head)
}

/// Wraps a task so that lanes can share it.
pub fn shared(environment: impl Environment + 'static) -> Shared {
    Rc::new(environment)
}
