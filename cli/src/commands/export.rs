//! `export`: writes a trained model for other programs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use flowrl_core::backend::CpuBackend;
use flowrl_lm::config::Dtype;
use flowrl_lm::{load_policy, save_policy};

use crate::{say, session};

/// The number format of the exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DtypeName {
    /// Single precision, as in training
    F32,
    /// IEEE half precision
    F16,
    /// bfloat16: half the size of f32, and the format of most models
    Bf16,
}

impl From<DtypeName> for Dtype {
    fn from(name: DtypeName) -> Self {
        match name {
            DtypeName::F32 => Self::F32,
            DtypeName::F16 => Self::F16,
            DtypeName::Bf16 => Self::Bf16,
        }
    }
}

/// Write the model of a run as a Hugging Face folder, without the trainer's state.
///
/// The folder includes the tokenizer, chat template and generation_config.json of the model that the run began with;
/// transformers, vLLM and SGLang load it. In bf16 each weight is rounded to 8 significant bits, so log-probabilities
/// differ from those of the run by some hundredths.
#[derive(Clone, Debug, clap::Args)]
pub struct ExportArgs {
    /// Run (its last checkpoint), RUN/best, a checkpoint, or another model folder
    #[arg(value_name = "RUN")]
    model: PathBuf,
    /// Folder to write, which must be empty or not exist
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// Number format of the weights
    #[arg(long, default_value = "bf16")]
    dtype: DtypeName,
}

/// Runs the command.
pub fn run(args: &ExportArgs, json: bool) -> Result<()> {
    nothing_there(&args.out)?;
    let path = session::checkpoint_of(&args.model)?;
    let origin = session::open_model(Some(&path))?;
    let policy = load_policy(CpuBackend::<f32>::new(0), &origin)?;
    save_policy(&args.out, &policy, &origin, args.dtype.into())?;
    let parameters = origin.config().parameter_count();
    if json {
        say!("{}", serde_json::json!({ "out": args.out, "from": path, "parameters": parameters }));
    } else {
        say!("{}: {parameters} parameters, from {}", args.out.display(), path.display());
    }
    Ok(())
}

/// Refuses a folder that is not empty, and creates its parent if necessary.
pub(super) fn nothing_there(out: &Path) -> Result<()> {
    let is_empty = || std::fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_none());
    ensure!(
        !out.exists() || is_empty(),
        "{} already exists and is not overwritten: choose another folder",
        out.display()
    );
    if let Some(parent) = out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    }
    Ok(())
}
