//! What crosses crates: golden numbers, the documentation, configurations of the browser.

mod browser_config;
mod docs_examples;
mod docs_task;
mod hf_golden;
mod objective_golden;
