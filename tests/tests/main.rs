//! Tests that cross crates: golden numbers, the documentation, configurations from the browser, and imports.

mod adding;
mod browser_config;
mod docs_examples;
mod docs_task;
mod family;
mod hf_golden;
mod msrv;
mod objective_golden;
mod peers;
mod rooms;
