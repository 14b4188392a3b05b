//! `train`: fine-tune a model with FlowRL or a baseline.

mod dry_run;
mod files;
mod stored;
mod summary;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use flowrl_core::backend::CpuBackend;
use flowrl_core::objective::{Length, Objective, Reward};
use flowrl_core::policy::Policy;
use flowrl_core::train::{LogZModel, Trainer};
use flowrl_lm::checkpoint::Checkpoint;
use flowrl_lm::evaluate::{Evaluation, Target, evaluate};
use flowrl_lm::fs::atomic_write;

use crate::args::ConfigArgs;
use crate::config::Config;
use crate::metrics::{Record, Writer};
use crate::run_dir::RunDir;
use crate::say;
use crate::session::{self, CpuPolicy, Tasks};
use crate::{progress, report};
use files::RolloutWriter;
use stored::StoredRollouts;

/// Fine-tune a model, start to finish, and write a report.
///
/// Without any flag: the small model in this program, Countdown problems, the FlowRL paper's objective.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Learn from stored completions instead of sampling
    #[arg(long, value_name = "FILE")]
    rollouts: Option<PathBuf>,
    /// Run directory; without it, a new one under runs/
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out from its last checkpoint, to the same bits as if it had never stopped
    #[arg(long, requires = "out")]
    resume: bool,
    /// Print the resolved configuration and the memory plan, and stop
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command.
///
/// # Errors
/// Anything that is wrong with flags, files or the model; a disk that is full.
pub fn run(args: &TrainArgs, json: bool) -> Result<ExitCode> {
    let base = args.out.as_ref().filter(|_| args.resume).map(|out| out.join("config.toml"));
    let mut config = args.config.load(base.as_deref())?;
    if let Some(file) = &args.rollouts {
        config.train.rollouts = Some(std::path::absolute(file)?);
    }
    if args.dry_run {
        return dry_run::print(&config).map(|()| ExitCode::SUCCESS);
    }
    let resolved = config.to_toml()?;
    let origin = session::open_model(config.model.path.as_deref())?;
    let tasks = Tasks::open(&config, &origin)?;
    let out = args.out.clone().unwrap_or_else(|| {
        RunDir::default_path("runs".as_ref(), config.task.kind.name(), config.objective_name(), config.train.seed)
    });
    let directory = if args.resume { RunDir::resume(&out)? } else { RunDir::create(&out)? };
    atomic_write(&directory.config(), resolved.as_bytes())?;
    progress::catch_interrupt();
    let pool = CpuBackend::<f32>::new(config.train.threads).pool().clone();
    pool.enter(|| Run::open(config, origin, tasks, directory, json)?.go())
}

/// A run under way.
struct Run {
    config: Config,
    origin: Checkpoint,
    tasks: Tasks,
    directory: RunDir,
    policy: CpuPolicy,
    trainer: Trainer<CpuBackend<f32>>,
    metrics: Writer,
    rollouts: RolloutWriter,
    stored: Option<StoredRollouts>,
    json: bool,
}

impl Run {
    fn open(config: Config, origin: Checkpoint, tasks: Tasks, directory: RunDir, json: bool) -> Result<Self> {
        let objective = config.objective()?;
        let mut policy = session::policy(&origin, config.train.threads)?;
        policy.set_recompute(config.model.recompute);
        let options = config.train_options()?;
        let mut trainer =
            Trainer::new::<<CpuPolicy as Policy>::Error>(policy.backend(), policy.width(), objective, options)?;
        files::restore(&directory, &mut policy, &mut trainer)?;
        let stored = match &config.train.rollouts {
            Some(path) => Some(StoredRollouts::read(path, tasks.train.text())?),
            None => None,
        };
        let metrics = Writer::open(&directory.metrics())?;
        let rollouts = RolloutWriter::open(&directory.rollouts())?;
        Ok(Self { config, origin, tasks, directory, policy, trainer, metrics, rollouts, stored, json })
    }

    fn go(mut self) -> Result<ExitCode> {
        let total = self.config.train.steps;
        let bar = progress::bar(total, self.config.objective_name(), false);
        bar.set_position(self.trainer.progress().step);
        if self.trainer.progress().step == 0 {
            bar.set_message("evaluating on held-out prompts");
            bar.tick();
            let mut record = Record::new(0);
            self.evaluate(&mut record)?;
            self.record(&record)?;
        }
        while self.trainer.progress().step < total && !progress::interrupted() {
            let record = self.step()?;
            let number = |name| record.number(name).unwrap_or(f64::NAN);
            let message = format!("reward {:.3}  entropy {:.2}", number("reward_mean"), number("entropy_mean"));
            bar.set_message(message);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let step = self.trainer.progress().step;
        if self.directory.latest_checkpoint()?.is_none_or(|(saved, _)| saved != step) {
            self.save()?;
        }
        let report = report::write(self.directory.root())?;
        if !self.json {
            summary::print(&self.directory, &report)?;
        }
        if progress::interrupted() {
            let out = self.directory.root().display();
            eprintln!("stopped at step {step} of {total}; go on with: flowrl-cli train --out {out} --resume");
            return Ok(ExitCode::from(130));
        }
        Ok(ExitCode::SUCCESS)
    }

    /// One step, its evaluation and its checkpoint.
    fn step(&mut self) -> Result<Record> {
        let start = Instant::now();
        let rollouts = match &self.stored {
            None => self.trainer.collect(&mut self.policy, &self.tasks.train)?,
            Some(stored) => stored.step(&mut self.policy, self.trainer.progress().step, self.trainer.options())?,
        };
        let sampled = start.elapsed().as_secs_f64();
        let metrics = self.trainer.learn(&mut self.policy, &rollouts)?;
        let seconds = start.elapsed().as_secs_f64();

        let step = self.trainer.progress().step;
        let mut record = Record::new(step);
        for (name, value) in metrics {
            record.set(name, value);
        }
        let prompts: usize = rollouts.completions.prompt_of.iter().map(|&p| rollouts.prompts[p].len()).sum();
        let tokens = prompts + rollouts.completions.tokens.len();
        record.set("tokens_per_s", tokens as f64 / seconds);
        record.set("step_s", seconds).set("sample_s", sampled).set("update_s", seconds - sampled);
        if self.stored.is_none() {
            self.rollouts.append(step, &rollouts, &self.tasks.train, false)?;
        }
        let total = self.config.train.steps;
        if step == total || is_due(step, self.config.eval.every) {
            self.evaluate(&mut record)?;
        }
        self.record(&record)?;
        if step == total || is_due(step, self.config.run.save_every) {
            self.save()?;
        }
        Ok(record)
    }

    fn record(&mut self, record: &Record) -> Result<()> {
        self.metrics.append(record)?;
        if self.json {
            say!("{}", record.to_line());
        }
        Ok(())
    }

    /// Evaluates on held-out prompts and adds what it found to a record.
    fn evaluate(&mut self, record: &mut Record) -> Result<()> {
        let eval = &self.config.eval;
        if eval.prompts == 0 {
            return Ok(());
        }
        let beta = match self.trainer.objective() {
            Objective::FlowRl(flow) => Some(flow.beta),
            Objective::Baseline(_) => None,
        };
        let options = flowrl_core::train::TrainOptions { samples: eval.samples, ..*self.trainer.options() };
        let found = evaluate(&mut self.policy, &self.tasks.held_out, eval.prompts, &options, Target { beta }, true)?;
        for (name, value) in &found.metrics {
            record.set(name, *value);
        }
        if let Some(error) = self.log_z_error(&found)? {
            record.set("eval_log_z_error", error);
        }
        let step = self.trainer.progress().step;
        self.rollouts.append(step, &found.rollouts, &self.tasks.held_out, true)
    }

    /// Mean |log Z_φ(x) − log Z(x)| over held-out prompts, where log Z is learned and has an exact value: plain trajectory
    /// balance on raw rewards.
    fn log_z_error(&mut self, found: &Evaluation<f32>) -> Result<Option<f64>> {
        let Objective::FlowRl(flow) = self.trainer.objective() else { return Ok(None) };
        if flow.length != Length::Sum || flow.reward != Reward::Raw || found.exact.is_empty() {
            return Ok(None);
        }
        let prompts: Vec<&[u32]> = found.exact.iter().map(|&(i, _)| found.rollouts.prompts[i].as_slice()).collect();
        let learned: Vec<f32> = match self.trainer.log_z_mut() {
            LogZModel::Scalar { state } => vec![state[0] as f32; prompts.len()],
            LogZModel::Network(network) => {
                let mut hidden = vec![0.0; prompts.len() * network.width()];
                self.policy.represent(&prompts, &mut hidden)?;
                network.forward(self.policy.backend(), &hidden, prompts.len(), None)?
            }
            _ => return Ok(None),
        };
        let errors = learned.iter().zip(&found.exact).map(|(z, (_, exact))| (f64::from(*z) - exact.log_z).abs());
        Ok(Some(errors.sum::<f64>() / learned.len() as f64))
    }

    fn save(&self) -> Result<()> {
        files::save(&self.directory, self.config.run.keep, &self.policy, &self.trainer, &self.origin)
    }
}

/// Whether something that happens every `every` steps, 0 for never, happens after this one.
const fn is_due(step: u64, every: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}
