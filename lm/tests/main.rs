//! The transformer against finite differences, golden numbers and another backend, in one program.

mod chat;
mod checkpoint;
mod common;
mod engine;
mod golden;
mod operations;
mod verifiers;
