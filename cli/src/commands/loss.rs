//! `loss`: evaluate an objective on a batch file.

use std::path::PathBuf;

use anyhow::{Context, Result};
use flowrl_core::objective::file::BatchFile;

use crate::say;

/// Loss, gradients and metrics of a batch file, as JSON, in double precision.
#[derive(Clone, Debug, clap::Args)]
pub struct LossArgs {
    /// Batch file
    #[arg(value_name = "BATCH.json")]
    batch: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A file that cannot be read or parsed; a batch that the objective refuses.
pub fn run(args: &LossArgs) -> Result<()> {
    let path = args.batch.display();
    let text = std::fs::read_to_string(&args.batch).with_context(|| format!("cannot read {path}"))?;
    let batch: BatchFile = serde_json::from_str(&text).with_context(|| format!("in {path}"))?;
    let result = batch.evaluate::<f64>().with_context(|| format!("in {path}"))?;
    say!("{}", serde_json::to_string(&result)?);
    Ok(())
}
