//! Tests that cross crates: golden numbers, the documentation, and configurations from the browser.

mod adding;
mod browser_config;
mod docs_examples;
mod docs_task;
mod family;
mod hf_golden;
mod objective_golden;
mod peers;
