//! `train`: fine-tune a model with FlowRL or a baseline, or train a small policy in the lab.

mod dry_run;
mod summary;
mod text;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use flowrl_lm::fs::atomic_write;

use crate::args::ConfigArgs;
use crate::config::{Config, TaskKind};
use crate::run::{Output, Run, Subject};
use crate::run_dir::RunDir;
use crate::session::Session;
use crate::{lab, memory, on_device, progress, warn};
use text::Text;

/// Train a policy, start to finish, and write a report.
///
/// Without any flag: the small model in this program, Countdown problems, the FlowRL paper's objective. With --task bandit,
/// landscape, hypergrid, bits or tree: a small policy on a task whose target is known exactly.
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
    let mut flags = args.config.clone();
    if let Some(file) = &args.rollouts {
        flags.set_path("train.rollouts", file)?;
    }
    let mut config = flags.load(base.as_deref())?;
    if args.rollouts.is_some()
        && config.task.kind == TaskKind::Countdown
        && config.model.path.is_some()
        && args.config.task.is_none()
    {
        warn!("without --prompts nothing is held out to evaluate on: only the stored completions are measured");
        config.eval.prompts = 0;
    }
    if args.dry_run {
        return dry_run::print(config).map(|()| ExitCode::SUCCESS);
    }
    let out = args.out.clone().unwrap_or_else(|| {
        RunDir::default_path("runs".as_ref(), config.task.kind.name(), config.objective_name(), config.train.seed)
    });
    train(config, &out, args.resume, if json { Output::Json } else { Output::Summary })
}

/// Trains in a directory, from the start or from its last checkpoint. Exit code 130 says that Ctrl-C stopped it.
///
/// # Errors
/// As for [`run`].
pub fn train(mut config: Config, out: &Path, resume: bool, output: Output) -> Result<ExitCode> {
    config.objective()?;
    // Everything that the configuration names is opened before the directory is made.
    let session = if config.task.kind.is_lab() { None } else { Some(Session::open(&mut config)?) };
    if let Some(session) = &session {
        memory::fit(&mut config, session)?;
    }
    let resolved = config.to_toml()?;
    on_device!(config.device()?, |device| {
        let subject: Box<dyn Subject> = match session {
            None => lab::open(&config)?,
            Some(session) => Box::new(Text::open(&config, session, device)?),
        };
        let directory = if resume { RunDir::resume(out)? } else { RunDir::create(out)? };
        atomic_write(&directory.config(), resolved.as_bytes())?;
        progress::catch_interrupt();
        Run::open(config, directory, subject, output)?.go()
    })
}
