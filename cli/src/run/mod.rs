//! A run: a policy under training in its directory, with metrics, rollouts, checkpoints, an orderly stop and a report.
//!
//! A run trains a [`subject`]: a language model on prompts, or a small policy in the lab.

mod clock;
mod files;
mod health;
mod life;
pub mod subject;

use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use flowrl_lm::Interrupted;

use crate::config::Config;
use crate::metrics::{self, Record, Writer};
use crate::run_dir::RunDir;
use crate::run_dir::best::Best;
use crate::run_dir::provenance::{Provenance, Stretch};
use crate::trackers::Trackers;
use crate::{note, progress, report, say, signals, tell, warn};
use clock::Clock;
use files::RolloutWriter;
use health::Health;
use life::{Life, expected};
use subject::Subject;

/// A run in progress.
#[derive(Debug)]
pub struct Run {
    config: Config,
    directory: RunDir,
    subject: Box<dyn Subject>,
    metrics: Writer,
    rollouts: RolloutWriter,
    clock: Clock,
    /// Checks of the run, if it trains a language model.
    health: Option<Health>,
    /// Evaluations by the metric of `run.best`, if it is set.
    best: Option<Best>,
    output: Output,
    trackers: Trackers,
    /// Record of the current step, if its evaluation was interrupted.
    unmeasured: Option<Record>,
}

/// The results that a run prints to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// A summary at the end.
    Summary,
    /// The run's directory, every record, and a last record with the results of the run, each as a line of JSON.
    Json,
    /// No results at all.
    Nothing,
}

/// The outcome of a step.
enum Step {
    /// The step is finished; the record is `None` if the run does not record this step.
    Done(Option<Record>),
    /// A signal interrupted the step before it changed anything.
    GivenUp,
    /// A signal interrupted the evaluation of the step.
    Unmeasured,
}

impl Run {
    /// Opens a run, which continues from the directory's last checkpoint or the one with the name `from`, or begins if
    /// there is none.
    pub fn open(
        config: Config,
        directory: RunDir,
        from: Option<&str>,
        mut subject: Box<dyn Subject>,
        output: Output,
    ) -> Result<Self> {
        let unmeasured = files::restore(&directory, subject.as_mut(), from)?;
        let recorded = metrics::read_if_there(&directory.metrics())?;
        let story = Provenance::read(&directory)?;
        let before = story.stretches.last().map(|last| last.config.as_str());
        let best = Best::open(&config, &directory, &recorded, before)?;
        story.add(Stretch::now(&config, subject.progress().step)?, &directory)?;
        let steps = directory.steps()?;
        let spared = best.as_ref().map(|best| best.spared(&steps, config.run.keep)).unwrap_or_default();
        directory.rotate(config.run.keep, &spared)?;
        let clock = Clock::resume(unmeasured.as_ref().or(recorded.last()));
        let trackers = Trackers::open(&config, &directory, recorded.last().and_then(Record::step))?;
        let metrics = Writer::open(&directory.metrics())?;
        let rollouts = RolloutWriter::open(&directory.rollouts())?;
        let is_lab = config.task.kind.is_lab();
        let health = if is_lab { None } else { Some(Health::new(&config, &config.objective()?)) };
        Ok(Self { config, directory, subject, metrics, rollouts, clock, health, best, output, trackers, unmeasured })
    }

    /// Trains to the end, or until a signal asks to stop, then saves and writes the report. Returns exit code 128 + n
    /// if signal n stopped the run.
    pub fn go(mut self) -> Result<ExitCode> {
        let total = self.config.train.steps;
        let (train, out) = (&self.config.train, self.directory.root().display());
        if self.output != Output::Nothing {
            note!("run {out}: {}, on {}", self.subject.headline(), train.device);
        }
        if self.output == Output::Json {
            say!("{}", serde_json::json!({ "run": self.directory.root() }));
        }
        let bar = progress::bar(total, self.config.objective_name());
        bar.set_position(self.subject.progress().step);
        let is_log = bar.is_hidden() && self.output != Output::Nothing;
        let mut life = Life::new(is_log, self.subject.progress().step, Instant::now());
        if let Some(message) = self.health.as_ref().and_then(|health| health.of_options(&self.config)) {
            warn!("{message}");
        }
        let mut evaluation = None;
        let first = if self.subject.progress().step == 0 { Some(Record::new(0)) } else { self.unmeasured.take() };
        let mut goes_on = true;
        if let Some(record) = first {
            bar.set_message("evaluating");
            bar.tick();
            let start = Instant::now();
            goes_on = self.measure(record)?.is_some();
            evaluation = Some(start.elapsed().as_secs_f64());
        }
        while goes_on && self.subject.progress().step < total && signals::stop().is_none() && !self.stops_early() {
            match self.step()? {
                Step::Done(record) => {
                    if let Some(record) = record {
                        let (message, step) = (self.subject.message(&record), self.subject.progress().step);
                        if let Some(line) = life.line((step, total), &message, Instant::now()) {
                            note!("{line}");
                        }
                        bar.set_message(message);
                        self.look(&record, &mut evaluation);
                    }
                    bar.inc(1);
                }
                Step::GivenUp => break,
                Step::Unmeasured => goes_on = false,
            }
            if signals::take_save() {
                self.save_once()?;
                note!("saved step {}", self.subject.progress().step);
            }
        }
        bar.finish_and_clear();
        let step = self.subject.progress().step;
        // An untrained policy needs no checkpoint, because the run can start again.
        if step > 0 {
            self.save_once()?;
        }
        self.subject.finish(&self.directory)?;
        let report = report::write(self.directory.root(), report::Kind::Ended)?;
        if self.output == Output::Summary {
            let best = self.best.iter().flat_map(|best| best.summary(self.directory.root(), step, total));
            for line in self.subject.summary(&self.directory)?.into_iter().chain(best) {
                say!("{line}");
            }
            let warnings = crate::output::warnings();
            if warnings > 0 {
                say!("warnings: {warnings}, on standard error");
            }
            say!("report: {}", report.display());
        }
        let stopped = signals::stop().filter(|_| (step < total || self.unmeasured.is_some()) && !self.stops_early());
        if self.output == Output::Json {
            let mut summary = metrics::read(&self.directory.metrics())?.pop().unwrap_or_default();
            let [run, report] = [self.directory.root(), &report].map(|path| path.to_string_lossy().into_owned());
            summary.set("run", run).set("report", report).set("parameters", self.subject.parameters() as f64);
            if let Some(best) = &self.best {
                best.write(&mut summary, step, total);
            }
            summary.set("warnings", crate::output::warnings() as f64);
            if let Some(signal) = stopped {
                summary.set("stopped", signal.to_string());
            }
            say!("{}", summary.to_line());
        }
        self.trackers.finish(stopped.is_some());
        match stopped {
            Some(signal) => {
                let out = self.directory.root().display();
                tell!(
                    "{signal} stopped the run at step {step} of {total}; continue with: flowrl-cli train --out {out} --resume"
                );
                Ok(ExitCode::from(signal.exit_code()))
            }
            None => Ok(ExitCode::SUCCESS),
        }
    }

    /// Gives the warnings about a step's record, and the forecast of the remaining time after the second step.
    fn look(&mut self, record: &Record, evaluation: &mut Option<f64>) {
        let Some(health) = &mut self.health else { return };
        let (step, total) = (self.subject.progress().step, self.config.train.steps);
        health.look(step, record).iter().for_each(|message| warn!("{message}"));
        // The first step takes longer than others, because it also warms up the device and the caches.
        if let Some(seconds) = evaluation.take_if(|_| step > 1 && step < total) {
            note!("{}", expected(&self.config, step, record, seconds));
        }
    }

    /// Runs one step, with its evaluation and its checkpoint.
    fn step(&mut self) -> Result<Step> {
        self.clock.start();
        let start = Instant::now();
        let Some(rollouts) = unless_interrupted(self.subject.collect())? else { return Ok(Step::GivenUp) };
        let sampled = start.elapsed().as_secs_f64();
        let Some(metrics) = unless_interrupted(self.subject.learn(&rollouts))? else { return Ok(Step::GivenUp) };
        let seconds = start.elapsed().as_secs_f64();
        self.clock.stop();
        if let Some(health) = &mut self.health {
            health.tokens = rollouts.completions.tokens.len();
        }

        let step = self.subject.progress().step;
        let total = self.config.train.steps;
        let evaluated = step == total || is_due(step, self.config.eval.every);
        let mut found = None;
        if evaluated || !self.subject.is_brief() {
            let mut record = Record::new(step);
            for (name, value) in metrics {
                record.set(name, value);
            }
            self.subject.describe(&rollouts, seconds, &mut record);
            record.set("step_s", seconds).set("sample_s", sampled).set("update_s", seconds - sampled);
            self.clock.write(&mut record);
            self.rollouts.append(step, &rollouts, self.subject.as_ref(), None)?;
            if !evaluated {
                self.record(&record)?;
                found = Some(record);
            } else {
                found = self.measure(record)?;
                if found.is_none() {
                    return Ok(Step::Unmeasured);
                }
            }
        }
        let is_best = evaluated && self.best.as_ref().is_some_and(|best| best.is_at(step));
        if step == total || is_best || is_due(step, self.config.run.save_every) {
            self.save()?;
        }
        Ok(Step::Done(found))
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        self.metrics.append(record)?;
        self.trackers.record(record)?;
        if self.output == Output::Json {
            say!("{}", record.to_line());
        }
        Ok(())
    }

    /// Evaluates the policy and records the result. If a signal interrupts this, it returns `None`, and the record
    /// waits for the next time.
    fn measure(&mut self, mut record: Record) -> Result<Option<Record>> {
        let waiting = record.clone();
        let Some(parts) = unless_interrupted(self.subject.evaluate(&mut record))? else {
            self.unmeasured = Some(waiting);
            return Ok(None);
        };
        let (step, total) = (self.subject.progress().step, self.config.train.steps);
        for (part, rollouts) in &parts {
            self.rollouts.append(step, rollouts, self.subject.as_ref(), Some(part))?;
        }
        self.record(&record)?;
        if let Some(best) = &mut self.best {
            best.add(&record)?;
        }
        if !self.subject.is_brief() {
            report::write(self.directory.root(), report::Kind::GoesOn)?;
        }
        if let Some(line) = self.subject.measured(&record).filter(|_| self.output != Output::Nothing) {
            note!("step {step}/{total}, on held-out prompts: {line}");
        }
        Ok(Some(record))
    }

    fn save(&mut self) -> Result<()> {
        let records = (&self.metrics, &mut self.rollouts);
        let (best, unmeasured) = (self.best.as_ref(), self.unmeasured.as_ref());
        files::save(&self.directory, self.config.run.keep, best, self.subject.as_ref(), records, unmeasured)
    }

    /// Returns whether the last evaluation ends the run before its last step.
    fn stops_early(&self) -> bool {
        self.best.as_ref().is_some_and(|best| best.stops_at(self.subject.progress().step))
    }

    /// Saves a checkpoint unless this step has one.
    fn save_once(&mut self) -> Result<()> {
        let step = self.subject.progress().step;
        let is_saved = self.directory.latest_checkpoint()?.is_some_and(|(saved, _)| saved == step);
        if is_saved { Ok(()) } else { self.save() }
    }
}

/// Returns the result of some work, or `None` if the work was interrupted because of [`signals::stop`].
fn unless_interrupted<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.chain().any(|cause| cause.is::<Interrupted>()) => Ok(None),
        other => other.map(Some),
    }
}

/// Formats seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        ..10.0 => format!("{seconds:.1} s"),
        ..120.0 => format!("{seconds:.0} s"),
        ..7200.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}

/// Returns whether an action with a period of `every` steps is due after this step; 0 means never.
const fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
