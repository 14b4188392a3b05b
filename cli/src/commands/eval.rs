//! `eval`: measures a model on held-out prompts.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use flowrl_core::policy::Policy;
use flowrl_core::train::TrainOptions;
use flowrl_lm::evaluate::Evaluation;
use flowrl_lm::{load_policy, load_weights};
use serde_json::{Map, Value};

use crate::args::ConfigArgs;
use crate::config::{Config, TaskKind};
use crate::data::Source;
use crate::measure::measure;
use crate::session::{self, HeldOut, Session};
use crate::{note, on_device, say, warn};

/// Measure a model: success, pass@k and distinct answers with their standard errors, and exact measures if answers can
/// be enumerated.
///
/// Measures on every prompt of --prompts and of each --eval. Without these flags, a run is measured on the prompts that
/// it was evaluated on.
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
    /// Decode one completion of each prompt greedily too
    #[arg(long)]
    greedy: bool,
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
    let is_exact = tasks.held_out.iter().any(|set| set.task.problem(0).is_some());
    let has_origin = base.is_some() || args.config.config.is_some() || args.config.model.is_some();
    let reference = match &args.reference {
        Some(path) => Some(session::open_model(Some(path))?),
        None if is_exact && has_origin && began_with != config.model.path => {
            Some(session::open_model(began_with.as_deref())?)
        }
        None => None,
    };
    let options = TrainOptions { samples: config.eval.samples, ..config.train_options()? };
    let is_limited = names_eval_prompts(args)?;
    let is_whole = |set: &HeldOut| !is_limited && (set.name.is_some() || config.task.kind == TaskKind::Prompts);
    let limit = |set: &HeldOut| set.measured(if is_whole(set) { usize::MAX } else { config.eval.prompts });
    let prompts: usize = tasks.held_out.iter().map(limit).sum();
    ensure!(
        prompts > 0 && options.samples > 0,
        "nothing to measure: {prompts} prompts, {} completions of each; set eval.prompts and eval.samples above 0",
        options.samples
    );
    let beta = config.objective()?.beta();
    let found = on_device!(config.device()?, |device| {
        let mut policy = load_policy(device, &origin)?;
        policy.limits.wave = config.sampling.wave.unwrap_or(0);
        if !config.sampling.stop.is_empty() {
            policy.limits.rule = Some(std::sync::Arc::new(tasks.train.text().clone()));
        }
        if let Some(reference) = &reference {
            policy.set_reference(load_weights(policy.backend(), reference)?)?;
        }
        let mut all = Vec::new();
        for set in &tasks.held_out {
            all.push((set, measure(&mut policy, set, limit(set), &options, beta, config.eval.greedy)?));
        }
        Ok(all)
    })?;
    let mut told = false;
    for (_, found) in &found {
        told = told || found.warn_of_left_out();
    }
    if json {
        let (mut whole, mut sets) = (Map::new(), Map::new());
        for (set, found) in &found {
            let block = to_json(&found.sampled, limit(set), options.samples);
            match &set.name {
                None => whole = block,
                Some(name) => _ = sets.insert(name.clone(), block.into()),
            }
        }
        if !sets.is_empty() {
            whole.insert("sets".into(), sets.into());
        }
        say!("{}", Value::Object(whole));
        return Ok(());
    }
    for (i, (set, found)) in found.iter().enumerate() {
        if i > 0 {
            say!("");
        }
        let name = set.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
        say!("{name}{} prompts, {} completions of each", limit(set), options.samples);
        let Evaluation { metrics, standard_errors, .. } = &found.sampled;
        for (name, value) in metrics {
            let value = if value.is_nan() { "–".to_owned() } else { format!("{value:.4}") };
            match standard_errors.iter().find(|(other, _)| other == name) {
                Some((_, error)) => say!("{name:24} {value} ± {error:.4}"),
                None => say!("{name:24} {value}"),
            }
        }
    }
    say!("± is the standard error over prompts");
    Ok(())
}

/// Returns the measures of one set as an object.
fn to_json<T>(found: &Evaluation<T>, prompts: usize, samples: usize) -> Map<String, Value> {
    let object = |pairs: &[(String, f64)]| pairs.iter().map(|(name, value)| (name.clone(), (*value).into())).collect();
    let mut map: Map<_, _> = object(&found.metrics);
    map.insert("prompts".into(), prompts.into());
    map.insert("samples".into(), samples.into());
    map.insert("standard_errors".into(), Value::Object(object(&found.standard_errors)));
    map
}

/// Loads the configuration: that of the run if a run or its checkpoint is measured, overridden by the flags.
fn load(args: &EvalArgs, base: Option<&Path>) -> Result<Config> {
    let ConfigArgs { prompts, held_out, sets, .. } = &args.config;
    if !prompts.is_empty() && held_out.is_some() {
        // Measure on the whole file.
        bail!("--held-out names the prompts to measure on, and so does --prompts: give only one of them");
    }
    if let [first, other, ..] = &prompts[..] {
        bail!(
            "eval measures on one file, but --prompts names {first} and {other}: name the sets with --eval NAME=FILE"
        );
    }
    if prompts.first().is_some_and(|prompts| prompts.weight != 1.0) {
        warn!("the weight of --prompts is ignored: every prompt is measured once");
    }
    let mut flags = args.config.clone();
    let first = sets.first().map(|(_, path)| path);
    if base.is_none() && flags.config.is_none() && flags.task.is_none() && prompts.is_empty() {
        // Nothing is trained, so any prompts will do for that.
        let any = held_out.as_ref().or(first);
        flags.prompts = any.map(|path| Source { path: path.clone(), weight: 1.0 }).into_iter().collect();
    }
    if args.greedy {
        flags.set("eval.greedy", Some(true))?;
    }
    let mut config = flags.load(base)?;
    match prompts.first() {
        Some(prompts) => {
            config.task.held_out = Some(std::path::absolute(&prompts.path)?);
            if sets.is_empty() {
                config.eval.sets.clear();
            }
        }
        None if held_out.is_none() && !sets.is_empty() => config.task.held_out = None,
        None => {}
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
