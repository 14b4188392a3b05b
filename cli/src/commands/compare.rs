//! `compare`: several runs on the same axes.

use std::path::PathBuf;

use anyhow::Result;

use crate::{progress, say};

/// Compare runs: means and spread over seeds, in a table and in one page of charts.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Page to write
    #[arg(long, value_name = "FILE", default_value = "compare.html")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// A directory that is no run; a page that cannot be written.
pub fn run(args: &CompareArgs, json: bool) -> Result<()> {
    let comparison = crate::compare::compare(&args.runs)?;
    comparison.write_html(&args.out)?;
    if json {
        say!("{}", comparison.to_json());
    } else {
        say!("{}", comparison.to_markdown());
        for note in &comparison.notes {
            say!("\nnote: {note}");
        }
        progress::note(&args.out.display());
    }
    Ok(())
}
