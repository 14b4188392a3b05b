//! `sweep`: the same run over the values of one option.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};

use super::train::{Start, train};
use crate::args::ConfigArgs;
use crate::config::Config;
use crate::run::{Output, best};
use crate::run_dir::RunDir;
use crate::session::Session;
use crate::sweep::{Place, Sweep};
use crate::{metrics, progress, say, signals};

/// Train once for each value of an option, and draw what it changes.
///
/// `sweep --task bandit --set beta=0.5,1,2,5,10,20` writes a run directory for each value and seed, a table, and sweep.html beside
/// them. Run again, it skips what is finished and goes on with what is not.
#[derive(Clone, Debug, clap::Args)]
pub struct SweepArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Seeds for each value, counted up from --seed
    #[arg(long, value_name = "N", default_value_t = 1)]
    seeds: u64,
    /// Directory of the sweep; without it, runs/sweep-TASK-OPTION
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// No option with several values, or more than one; anything that is wrong with a run.
pub fn run(args: &SweepArgs, json: bool) -> Result<ExitCode> {
    ensure!(args.seeds > 0, "--seeds is 0, but must be at least 1");
    let (key, values, rest) = swept(&args.config.settings)?;
    let name = key.rsplit('.').next().unwrap_or(&key);
    let mut places = Vec::new();
    let mut out = args.out.clone();
    for value in &values {
        let settings = rest.iter().cloned().chain([format!("{key}={value}")]).collect();
        let flags = ConfigArgs { settings, ..args.config.clone() };
        let config = flags.load(None)?;
        let out = out.get_or_insert_with(|| Path::new("runs").join(format!("sweep-{}-{name}", config.task.kind)));
        for i in 0..args.seeds {
            let mut config = config.clone();
            config.train.seed += i;
            let directory = out.join(format!("{name}={value}-seed{}", config.train.seed));
            places.push((Place { value: value.parse()?, seed: config.train.seed, directory }, config));
        }
    }
    // Every mistake shows before the first run starts.
    let mut states = Vec::new();
    for (place, config) in &mut places {
        states.push(state(&place.directory, config).with_context(|| place.directory.display().to_string())?);
    }
    for ((place, config), state) in places.iter().zip(states) {
        let start = match state {
            State::Finished => continue,
            State::Begun => Start::Resume(None),
            State::New => Start::New,
        };
        progress::note(&place.directory.display());
        let code = train(config.clone(), &place.directory, start, Output::Nothing)?;
        if signals::stop().is_some() {
            progress::tell(&"the same sweep command goes on from here");
            return Ok(code);
        }
    }
    let config = places[0].1.clone();
    let sweep = Sweep::read(&key, config, places.into_iter().map(|(place, _)| place).collect())?;
    let page = out.unwrap_or_default().join("sweep.html");
    sweep.write_html(&page)?;
    if json {
        say!("{}", sweep.to_json());
    } else {
        say!("{}", sweep.to_markdown());
    }
    progress::note(&page.display());
    Ok(ExitCode::SUCCESS)
}

/// The option with several values, those values, and the other settings.
fn swept(settings: &[String]) -> Result<(String, Vec<String>, Vec<String>)> {
    let mut found: Option<(String, Vec<String>)> = None;
    let mut rest = Vec::new();
    for setting in settings {
        // A variable of a chat template may be a text with a comma.
        let pair = setting.split_once('=').filter(|(key, _)| !key.trim().starts_with("model.template."));
        let Some((key, list)) = pair.and_then(|(key, text)| Some((key, list(text)?))) else {
            rest.push(setting.clone());
            continue;
        };
        if let Some((first, _)) = &found {
            bail!("both `{first}` and `{key}` have several values: sweep over one at a time");
        }
        if let Some(word) = list.iter().find(|value| !value.parse::<f64>().is_ok_and(f64::is_finite)) {
            bail!(
                "`{word}` in `{setting}` is no number: a sweep draws numbers; train one run for each, then `compare`"
            );
        }
        found = Some((key.trim().to_owned(), list));
    }
    let (key, values) =
        found.context("nothing to sweep over: give one option several values, as in --set beta=0.5,1,2")?;
    for (i, value) in values.iter().enumerate() {
        ensure!(!values[..i].contains(value), "`{key}` has the value {value} twice");
    }
    Ok((key, values, rest))
}

/// The parts of `a,b,c`; `None` for what is one value, such as `[3, 4]`.
fn list(text: &str) -> Option<Vec<String>> {
    let single = text.trim().starts_with(['[', '{', '"', '\'']) || !text.contains(',');
    (!single).then(|| text.split(',').map(|value| value.trim().to_owned()).collect())
}

/// How far a run is.
enum State {
    New,
    Begun,
    Finished,
}

/// Reads how far the run in a directory is; another run there is an error.
fn state(directory: &Path, config: &mut Config) -> Result<State> {
    config.objective()?;
    config.train_options()?;
    best::check(config)?;
    let Ok(run) = RunDir::open(directory) else { return Ok(State::New) };
    let found = std::fs::read_to_string(run.config()).unwrap_or_default();
    if !config.task.kind.is_lab() {
        config.settle_as(&Config::load(Some(&run.config()), &[])?);
        Session::open(config)?;
    }
    let resolved = config.to_toml()?;
    ensure!(found == resolved, "this directory holds another run: its config.toml differs; choose another --out");
    let records = if run.metrics().exists() { metrics::read(&run.metrics())? } else { Vec::new() };
    let done = records.last().and_then(metrics::Record::step).is_some_and(|step| step >= config.train.steps);
    Ok(if done && run.report().exists() { State::Finished } else { State::Begun })
}
