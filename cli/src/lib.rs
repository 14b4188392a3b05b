//! What the command line of flowrl is made of: run directories, metrics, the report and the comparison of runs.

pub mod compare;
pub mod metrics;
pub mod report;
pub mod run_dir;
