//! The verifiers that a configuration or a command line names.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Error, Result};
use flowrl_lm::verify::Verifier;
use flowrl_verify::code::sandbox::Launcher;
use flowrl_verify::{Log, Options, Spec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{signals, warn};

/// The hidden command that confines a program of a completion: this program starts itself with it.
pub const SANDBOX: &str = "sandbox";

/// Flags of commands that judge completions.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct VerifierArgs {
    /// Verifier that judges completions: code, countdown, exact, gsm8k-flexible, gsm8k-strict, math, number, reward.py,
    /// reward.py:function, 'cmd:PROGRAM ARGS', http://… or judge:http://…; may be repeated, with `,weight=W` (default:
    /// exact)
    #[arg(long, value_name = "NAME")]
    pub verifier: Vec<String>,
    /// Python interpreter of verifiers and trackers (default: the active virtual environment's, else python3)
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,
    /// Allow the verifier `code` to run completions as programs, in a sandbox
    #[arg(long)]
    pub allow_code_execution: bool,
}

/// Opens the verifiers of some names, which give one reward together.
pub fn open(names: &[String], python: Option<PathBuf>, allows_code: bool, log: &Log) -> Result<Arc<dyn Verifier>> {
    let specs = specs(names)?;
    let mut options = Options::default();
    options.python = python;
    options.code = allows_code.then(|| Launcher::this_program([SANDBOX]));
    options.log = log.clone();
    options.interrupt = Some(Arc::new(|| signals::stop().is_some()));
    options.report = Some(Arc::new(|message: &str| warn!("{message}")));
    Ok(flowrl_verify::open(&specs, &options).map_err(Error::from_boxed)?.into())
}

/// Reads the names of verifiers.
pub fn specs(names: &[String]) -> Result<Vec<Spec>> {
    names.iter().map(|name| name.parse().map_err(Error::msg)).collect()
}

/// Returns the names with paths that do not depend on the working directory.
pub fn absolute(names: &[String], folder: &std::path::Path) -> Result<Vec<String>> {
    specs(names)?.iter().map(|spec| spec.in_folder(folder).map_err(Error::msg)).collect()
}

/// Writes one name as a text and several as a list.
pub(crate) fn serialize<S: Serializer>(names: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    match names {
        [name] => name.serialize(serializer),
        names => names.serialize(serializer),
    }
}

/// Reads one name, or a list of them.
pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected the name of a verifier or a list of names")]
    enum Names {
        One(String),
        Several(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::Several(names) => names,
    })
}
