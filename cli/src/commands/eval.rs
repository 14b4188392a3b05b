//! `eval`: measures a model on held-out prompts.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use flowrl_core::policy::Policy;
use flowrl_core::task::Task;
use flowrl_core::train::TrainOptions;
use flowrl_lm::evaluate::evaluate;
use flowrl_lm::{load_policy, load_weights};

use crate::args::ConfigArgs;
use crate::config::{Config, TaskKind};
use crate::session::{self, Session};
use crate::{note, on_device, say};

/// Measure a model: success, pass@k and distinct answers with their standard errors, and exact measures if answers can
/// be enumerated.
///
/// Measures on every prompt of --prompts. Without this flag, a run is measured on the prompts that it held out.
#[derive(Clone, Debug, clap::Args)]
pub struct EvalArgs {
    /// Model: a folder, a run (its last checkpoint), RUN/best or a checkpoint of a run (default: the small built-in
    /// model)
    #[arg(value_name = "DIR")]
    policy: Option<PathBuf>,
    /// Reference model of the exact measures, if answers can be enumerated (default: the one that the run began with,
    /// or the measured model itself)
    #[arg(long, value_name = "DIR")]
    reference: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// Runs the command.
pub fn run(args: &EvalArgs, json: bool) -> Result<()> {
    let measured = args.policy.as_ref().or(args.config.model.as_ref());
    let measured = measured.map(|path| session::checkpoint_of(path)).transpose()?;
    let base = measured.as_deref().and_then(run_config);
    let mut config = load(args, base.as_deref())?;
    ensure!(
        !config.task.kind.is_lab(),
        "`eval` measures language models; a run of task {} is measured exactly in every record of its metrics.jsonl",
        config.task.kind
    );
    let began_with = config.model.path.clone();
    if measured.is_some() {
        config.model.path = measured;
    }
    let has_date = config.model.template.contains_key("date");
    let Session { origin, tasks, .. } = Session::open(&mut config)?;
    if let (false, Some(date)) = (has_date, config.model.template.get("date")) {
        note!(
            "note: the chat template may print the date, which is {date}; set another with --set model.template.date=YYYY-MM-DD"
        );
    }
    // Only exact measures need the reference, and the model that the run began with may be gone.
    let is_exact = tasks.held_out.problem(0).is_some();
    let has_origin = base.is_some() || args.config.config.is_some() || args.config.model.is_some();
    let reference = match &args.reference {
        Some(path) => Some(session::open_model(Some(path))?),
        None if is_exact && has_origin && began_with != config.model.path => {
            Some(session::open_model(began_with.as_deref())?)
        }
        None => None,
    };
    let options = TrainOptions { samples: config.eval.samples, ..config.train_options()? };
    let beta = config.objective()?.beta();
    let prompts = if config.task.kind == TaskKind::Prompts && !names_eval_prompts(args)? {
        tasks.held_out.prompts()
    } else {
        config.eval.prompts.min(tasks.held_out.prompts())
    };
    ensure!(
        prompts > 0 && options.samples > 0,
        "nothing to measure: {prompts} prompts, {} completions of each; set eval.prompts and eval.samples above 0",
        options.samples
    );
    let found = on_device!(config.device()?, |device| {
        let mut policy = load_policy(device, &origin)?;
        policy.limits.wave = config.sampling.wave.unwrap_or(0);
        if !config.sampling.stop.is_empty() {
            policy.limits.rule = Some(std::sync::Arc::new(tasks.held_out.text().clone()));
        }
        if let Some(reference) = &reference {
            policy.set_reference(load_weights(policy.backend(), reference)?)?;
        }
        Ok(evaluate(&mut policy, &tasks.held_out, prompts, &options, beta, true)?)
    })?;
    if json {
        let mut map: serde_json::Map<_, _> = found.metrics.into_iter().map(|(k, v)| (k, v.into())).collect();
        map.insert("prompts".into(), prompts.into());
        map.insert("samples".into(), options.samples.into());
        let errors: serde_json::Map<_, _> = found.standard_errors.into_iter().map(|(k, v)| (k, v.into())).collect();
        map.insert("standard_errors".into(), errors.into());
        say!("{}", serde_json::Value::Object(map));
    } else {
        say!("{prompts} prompts, {} completions of each", options.samples);
        for (name, value) in found.metrics {
            match found.standard_errors.iter().find(|(other, _)| *other == name) {
                Some((_, error)) => say!("{name:24} {value:.4} ± {error:.4}"),
                None => say!("{name:24} {value:.4}"),
            }
        }
        say!("± is the standard error over prompts");
    }
    Ok(())
}

/// Loads the configuration: that of the run if a run or its checkpoint is measured, overridden by the flags.
fn load(args: &EvalArgs, base: Option<&Path>) -> Result<Config> {
    let mut config = args.config.load(base)?;
    if let Some(prompts) = &args.config.prompts {
        // Measure on the whole file.
        if args.config.held_out.is_some() {
            bail!("--held-out names the prompts to measure on, and so does --prompts: give only one of them");
        }
        config.task.held_out = Some(std::path::absolute(prompts)?);
    }
    Ok(config)
}

/// Returns the `config.toml` of the run that the checkpoint `path` belongs to.
fn run_config(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let root = path.parent().filter(|folder| folder.ends_with("checkpoints")).and_then(Path::parent);
    root.map(|root| root.join("config.toml")).filter(|file| file.is_file())
}

/// Returns whether the user set the number of prompts.
fn names_eval_prompts(args: &EvalArgs) -> Result<bool> {
    let in_file = match &args.config.config {
        Some(path) => {
            let table: toml::Table = std::fs::read_to_string(path)?.parse()?;
            table.get("eval").is_some_and(|eval| eval.get("prompts").is_some())
        }
        None => false,
    };
    Ok(in_file || args.config.settings.iter().any(|setting| setting.trim_start().starts_with("eval.prompts")))
}
