#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod backend;
pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod countdown;
mod cpu;
mod error;
pub mod evaluate;
pub mod fs;
mod generate;
pub mod jsonl;
pub mod kernel;
mod load;
pub mod model;
mod policy;
pub mod prompts;
pub mod rollouts;
#[cfg(all(debug_assertions, not(test)))]
#[doc(hidden)]
pub mod shared;
pub mod state;
pub mod task;
pub mod tokenizer;
pub mod verify;

pub use error::{Error, Interrupted, PolicyError, PolicyResult, Result, short};
pub use generate::{Interrupt, Limits, StopRule, Wave, WaveListener};
pub use load::{load_policy, load_weights, save_policy};
pub use policy::{Moments, TransformerPolicy};
