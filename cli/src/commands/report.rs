//! `report`: writes the page of a run at any time.

use std::path::PathBuf;

use anyhow::Result;

use crate::report::{self, Kind};
use crate::run_dir::RunDir;
use crate::say;

/// Write report.html for a run that has ended, was killed, or is in progress.
///
/// `train` writes it too: after each evaluation and at the end. The page of a run in progress reloads itself every half
/// minute.
#[derive(Clone, Debug, clap::Args)]
pub struct ReportArgs {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,
}

/// Runs the command.
pub fn run(args: &ReportArgs, json: bool) -> Result<()> {
    let goes_on = RunDir::open(&args.run)?.is_locked()?;
    let page = report::write(&args.run, if goes_on { Kind::GoesOn } else { Kind::Ended })?;
    if json {
        say!("{}", serde_json::json!({ "report": page, "goes_on": goes_on }));
    } else {
        say!("{}", page.display());
    }
    Ok(())
}
