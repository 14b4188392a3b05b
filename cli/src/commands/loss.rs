//! `loss`: evaluates an objective on a batch file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use flowrl_core::objective::file::BatchFile;

use crate::{input, say};

/// Print the loss, gradients and metrics of a batch file as JSON, in double precision.
#[derive(Clone, Debug, clap::Args)]
pub struct LossArgs {
    /// Batch file; - reads standard input
    #[arg(value_name = "BATCH.json")]
    batch: PathBuf,
}

/// Runs the command.
pub fn run(args: &LossArgs) -> Result<()> {
    let name = input::name(&args.batch);
    let batch: BatchFile = serde_json::from_slice(&input::bytes(&args.batch)?).with_context(|| format!("in {name}"))?;
    let result = batch.evaluate::<f64>().with_context(|| format!("in {name}"))?;
    say!("{}", serde_json::to_string(&result)?);
    Ok(())
}
