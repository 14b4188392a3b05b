//! `compare`: shows several runs on the same axes.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::run_dir::first_free;
use crate::{note, say};

/// Compare runs: means and spread over seeds, in a table and in one page of charts.
#[derive(Clone, Debug, clap::Args)]
pub struct CompareArgs {
    /// Run directories
    #[arg(value_name = "RUN", required = true)]
    runs: Vec<PathBuf>,
    /// Page to write, which must not exist (default: compare.html, or the first free one of compare-2.html, …)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Runs the command.
pub fn run(args: &CompareArgs, json: bool) -> Result<()> {
    let comparison = crate::compare::compare(&args.runs)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => first_free("compare".as_ref(), ".html"),
    };
    ensure!(!out.exists(), "{} already exists and is not overwritten: choose another --out", out.display());
    comparison.write_html(&out)?;
    if json {
        let mut found = comparison.to_json();
        found["page"] = serde_json::json!(out);
        say!("{found}");
    } else {
        say!("{}", comparison.to_markdown());
        for note in &comparison.notes {
            say!("\nnote: {note}");
        }
        note!("{}", out.display());
    }
    Ok(())
}
