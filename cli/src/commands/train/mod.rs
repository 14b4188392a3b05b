//! `train`: fine-tunes a model with FlowRL or a baseline, or trains a small policy in the lab.

mod dry_run;
mod summary;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use flowrl_lab::Lab;
use flowrl_lm::fs::atomic_write;
use flowrl_verify::Log;

use crate::args::{ConfigArgs, Usage, absolute};
use crate::config::{Config, TaskKind, Tracker};
use crate::run::subject::Subject;
use crate::run::{Output, Run};
use crate::run_dir::provenance::check_resume;
use crate::run_dir::{RunDir, best};
use crate::session::Session;
use crate::{lab, memory, on_device, signals, trackers, warn};
use text::Text;

/// Train a policy from start to finish and write a report.
///
/// Without any flag, trains the small built-in model on Countdown problems with the FlowRL paper's objective. With
/// --task bandit, landscape, hypergrid, bits or tree, trains a small policy on a task with an exactly known target.
#[derive(Clone, Debug, clap::Args)]
pub struct TrainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Learn from stored completions instead of sampling
    #[arg(long, value_name = "FILE")]
    rollouts: Option<PathBuf>,
    /// Run directory (default: a new one under runs/)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out from its last checkpoint, bit for bit as if it had never stopped
    #[arg(long, requires = "out")]
    resume: bool,
    /// Continue from this checkpoint, such as step-000100, instead of the last; later ones are set aside
    #[arg(long, value_name = "NAME", requires = "out")]
    resume_from: Option<String>,
    /// Experiment tracker that receives every record; may be repeated
    #[arg(long, value_enum, value_name = "NAME", value_delimiter = ',')]
    tracker: Vec<Tracker>,
    /// Print the resolved configuration and the memory plan, then exit
    #[arg(long)]
    dry_run: bool,
}

/// Runs the command. Returns exit code 128 + n if signal n stopped it.
pub fn run(args: &TrainArgs, json: bool) -> Result<ExitCode> {
    let resume = args.resume || args.resume_from.is_some();
    let base = args.out.as_ref().filter(|_| resume).map(|out| out.join("config.toml"));
    let mut flags = args.config.clone();
    flags.set("train.rollouts", absolute(args.rollouts.as_ref())?)?;
    flags.set("run.tracker", Some(&args.tracker).filter(|trackers| !trackers.is_empty()))?;
    let mut config = flags.load(base.as_deref())?;
    if args.rollouts.is_some()
        && config.task.kind == TaskKind::Countdown
        && config.model.path.is_some()
        && args.config.task.is_none()
        && config.eval.sets.is_empty()
    {
        warn!("without --prompts no prompts are held out for evaluation: only the stored completions are measured");
        config.eval.prompts = 0;
    }
    if args.dry_run {
        if let Some(out) = args.out.as_ref().filter(|_| !resume) {
            RunDir::refuse_occupied(out)?;
        }
        return dry_run::print(config).map(|()| ExitCode::SUCCESS);
    }
    let out = args.out.clone().unwrap_or_else(|| {
        RunDir::default_path("runs".as_ref(), config.task.kind.name(), config.objective_name(), config.train.seed)
    });
    let start = if resume { Start::Resume(args.resume_from.as_deref()) } else { Start::New };
    train(config, &out, start, if json { Output::Json } else { Output::Summary })
}

/// Checks the options of a run that depend on each other or have a range. Returns the task if it is of the lab.
pub(crate) fn check(config: &mut Config) -> Result<Option<Lab>> {
    let mut all = || {
        let lab = lab::task(config)?;
        config.objective()?;
        config.train_options()?;
        best::check(config)?;
        Ok(lab)
    };
    all().map_err(Usage::of)
}

/// The point from which training starts.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// The beginning, in a new directory.
    New,
    /// The last checkpoint of the run in the directory, or the one with this name.
    Resume(Option<&'a str>),
}

/// The task of the lab, or the model with its prompts, that a configuration names.
enum Opened {
    Lab(Lab),
    Text(Box<Session>),
}

/// Trains in a directory. Returns exit code 128 + n if signal n stopped the run.
pub fn train(mut config: Config, out: &Path, start: Start<'_>, output: Output) -> Result<ExitCode> {
    let lab = check(&mut config)?;
    trackers::check(&config.run)?;
    // Open everything that the configuration names before creating the directory.
    let mut log = Log::default();
    let opened = match lab {
        Some(lab) => Opened::Lab(lab),
        None => {
            // Judging may begin with the session, and must stop when asked to.
            signals::watch();
            let session = Session::open(&mut config)?;
            memory::fit(&mut config, &session)?;
            log = session.log.clone();
            Opened::Text(Box::new(session))
        }
    };
    let resolved = config.to_toml()?;
    if let Start::Resume(_) = start {
        let directory = RunDir::open(out)?;
        check_resume(&directory, &config)?;
        best::check_recorded(&directory, &config)?;
    }
    on_device!(config.device()?, |device| {
        let subject: Box<dyn Subject> = match opened {
            Opened::Lab(lab) => lab::open(&config, lab)?,
            Opened::Text(session) => Box::new(Text::open(&config, *session, device)?),
        };
        let (directory, from) = match start {
            Start::New => (RunDir::create(out)?, None),
            Start::Resume(from) => (RunDir::resume(out)?, from),
        };
        atomic_write(&directory.config(), resolved.as_bytes())?;
        log.to_file(directory.root().join("verifier.log"));
        signals::watch();
        Run::open(config, directory, from, subject, output)?.go()
    })
}
