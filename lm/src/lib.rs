//! The transformer policy of flowrl.

pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod countdown;
mod error;
pub mod fs;
mod jsonl;
pub mod pass_at_k;
pub mod prompts;
pub mod rollouts;
pub mod tokenizer;
pub mod verify;

pub use error::{Error, Result};
