//! The parts of flowrl's command line: commands, configuration, run directories, reports and comparisons of runs.
//!
//! An error names the flag, the file, the line or the key, the value that it has, and the remedy.
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod args;
pub mod command_line;
pub mod commands;
pub mod compare;
pub mod config;
pub mod data;
pub mod device;
mod format;
pub mod frontier;
mod input;
pub mod lab;
mod measure;
pub mod memory;
pub mod metrics;
pub mod output;
pub mod progress;
pub mod report;
pub mod run;
pub mod run_dir;
pub mod session;
pub mod signals;
pub mod stored;
pub mod sweep;
pub mod template;
pub mod trackers;
pub mod verifiers;
